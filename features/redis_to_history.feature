Feature: From Redis to InfluxDB
  Every value that Redis held is in history, at its source time, exactly.

  Scenario: A value is found in history at its source time
    When the operator of the plant sets "battery.cell_temperature_rise_c" to 7.75
    Then Redis holds "32.750000" for "comsrv:1002:T:5"
    And history holds 32.75 for "comsrv:1002:T:5" at the time that Redis names

  Scenario: The feed keeps up and refuses nothing
    Then the history feed has written entries and dropped none
