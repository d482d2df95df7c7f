Feature: From the device to the model
  What a device measures is what the model of the equipment shows, with unit, quality and time.

  Scenario: A changed measurement reaches the model
    Given the model "battery_001" shows "cell_temperature_max" as 25 "°C"
    When the operator of the plant sets "battery.cell_temperature_rise_c" to 12.5
    Then the model "battery_001" shows "cell_temperature_max" as 37.5 "°C"
    And Redis holds "37.500000" for "comsrv:1002:T:5"
    And the value is good and not older than 2 poll periods

  Scenario: A setpoint reaches the device and comes back as a measurement
    When a person sets "power_limit" of model "pv_001" to 5
    Then the command is done and reads back 5
    And the plant's "pv.power_kw" settles at 5
    And the model "pv_001" shows "power" as 5 "kW"

  Scenario: A setpoint beyond its limits is refused and nothing is sent
    When a person sets "power_setpoint" of model "battery_001" to 100000
    Then the request is refused with "INVALID"
    And Redis holds "0.000000" for "comsrv:1002:A:1"

  Scenario: A point leads back to the models that name it
    Then the point "comsrv:1002:T:5" belongs to "cell_temperature_max" of model "battery_001"
