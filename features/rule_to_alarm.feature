Feature: From the rule to the alarm
  The value that crosses a limit raises the alarm in the same step, once, and clears it when it returns.

  Background:
    Given no alarm of rule "battery_cell_over_temperature" is active

  Scenario: An alarm is raised with the value that tripped it, and clears
    When the operator of the plant sets "battery.cell_temperature_rise_c" to 32
    Then an alarm of rule "battery_cell_over_temperature" is active with level "Critical" and value 57
    When the operator of the plant sets "battery.cell_temperature_rise_c" to 0
    Then no alarm of rule "battery_cell_over_temperature" is active
    And the newest alarm of rule "battery_cell_over_temperature" is "cleared_unacknowledged"

  Scenario: An acknowledged alarm closes when its condition ends
    When the operator of the plant sets "battery.cell_temperature_rise_c" to 33
    Then an alarm of rule "battery_cell_over_temperature" is active with level "Critical" and value 58
    When "Ann" acknowledges it
    And the operator of the plant sets "battery.cell_temperature_rise_c" to 0
    Then no alarm of rule "battery_cell_over_temperature" is active
    And the newest alarm of rule "battery_cell_over_temperature" is "closed"

  Scenario: A rise within the limit raises nothing
    When the operator of the plant sets "battery.cell_temperature_rise_c" to 30
    Then the model "battery_001" shows "cell_temperature_max" as 55 "°C"
    And no alarm of rule "battery_cell_over_temperature" is active
    When the operator of the plant sets "battery.cell_temperature_rise_c" to 0
    Then the model "battery_001" shows "cell_temperature_max" as 25 "°C"
