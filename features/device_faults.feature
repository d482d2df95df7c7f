Feature: From the fault to the operator
  A device that fails is seen to fail: no value of it looks live, and the plant's truth tells what was really so.

  Scenario: A device that falls silent shows nothing as live, and comes back
    Given channel 1003 is online
    When the operator of the plant injects "deaf" into "genset"
    Then channel 1003 is offline
    And the value of "comsrv:1003:T:4" is bad
    When the operator of the plant clears all faults
    Then channel 1003 is online
    And the value of "comsrv:1003:T:4" is good

  Scenario: A register that lies is believed, and the truth knows better
    When the operator of the plant injects "bias" of 10 into "battery.cell_temperature_max_c"
    Then the model "battery_001" shows "cell_temperature_max" as 35 "°C"
    And the plant's "battery.cell_temperature_max_c" settles at 25
    When the operator of the plant clears all faults
    Then the model "battery_001" shows "cell_temperature_max" as 25 "°C"
