package plant

import (
	"math"
	"testing"
)

const never = "arrivals_per_h: [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"

// arrives connects a vehicle and takes the call back.
func arrives(t *testing.T, p *Plant) {
	t.Helper()
	set(t, p, "ev_charger", "arrive", 1)
	steps(p, 1)
	set(t, p, "ev_charger", "arrive", 0)
	steps(p, 1)
}

func TestAChargerFollowsItsPilotAndTheVehicle(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "ev_charger {"+never+", power_factor: 1, vehicle_kw: 20, stay_h: 48, target_state_of_charge_pct: 100, connectors: 2}")
	steps(p, 5)
	expect(t, p, "ev_charger", "connector_1_state", chargerFree, 0)
	arrives(t, p)
	expect(t, p, "ev_charger", "connector_1_state", chargerCharging, 0)
	expect(t, p, "ev_charger", "connector_2_state", chargerFree, 0)
	expect(t, p, "ev_charger", "connector_1_power_kw", 20, 0) // two steps of 10 kW
	expect(t, p, "grid", "power_kw", 20, 0)
	arrives(t, p)
	steps(p, 3)
	expect(t, p, "ev_charger", "power_kw", 40, 0)
	expect(t, p, "ev_charger", "vehicles_charging", 2, 0)

	write(t, p, "ev_charger", "current_limit_a", 10)
	steps(p, 1)
	expect(t, p, "ev_charger", "connector_1_power_kw", 400*math.Sqrt(3)*10/1000, 1e-3)
	expect(t, p, "ev_charger", "current_a", 20, 1e-3)
	write(t, p, "ev_charger", "current_limit_a", 5)
	steps(p, 1)
	expect(t, p, "ev_charger", "power_kw", 0, 0)
	expect(t, p, "ev_charger", "connector_1_state", chargerConnected, 0)
	write(t, p, "ev_charger", "current_limit_a", 32)
	set(t, p, "ev_charger", "fault", 1)
	steps(p, 1)
	expect(t, p, "ev_charger", "connector_1_state", chargerFault, 0)
	expect(t, p, "ev_charger", "power_kw", 0, 0)
	set(t, p, "ev_charger", "fault", 0)
	steps(p, 3)
	expect(t, p, "ev_charger", "power_kw", 40, 0)
	set(t, p, "grid", "available", 0)
	steps(p, 2)
	expect(t, p, "ev_charger", "power_kw", 0, 0)
	expect(t, p, "ev_charger", "connector_1_state", chargerConnected, 0)
	set(t, p, "grid", "available", 1)
	steps(p, 4)

	// From 80 % on it takes less and less, and at its target nothing.
	energy, charge := value(t, p, "ev_charger", "connector_1_energy_kwh"), value(t, p, "ev_charger", "connector_1_state_of_charge_pct")
	for value(t, p, "ev_charger", "connector_1_state_of_charge_pct") < 90 {
		steps(p, 1)
	}
	expect(t, p, "ev_charger", "connector_1_power_kw", 10, 0.02)
	capacity := p.member("ev_charger").device.(*charger).Connectors[0].CapacityKWh
	near(t, "stored", (value(t, p, "ev_charger", "connector_1_state_of_charge_pct")-charge)/100*capacity, 0.9*(value(t, p, "ev_charger", "connector_1_energy_kwh")-energy), 1e-6)
	until(t, p, "ev_charger", "connector_1_wanted_kwh", 0, 36000)
	steps(p, 1)
	expect(t, p, "ev_charger", "connector_1_state", chargerConnected, 0)
	expect(t, p, "ev_charger", "connector_1_state_of_charge_pct", 100, 1e-9)
	set(t, p, "ev_charger", "leave", 1)
	steps(p, 1)
	expect(t, p, "ev_charger", "vehicles", 0, 0)
	expect(t, p, "ev_charger", "connector_1_state", chargerFree, 0)
	expect(t, p, "ev_charger", "sessions", 2, 0)
}

func TestADirectCurrentStationIsLimitedByPower(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "ev_charger {"+never+", current: dc, rated_kw: 150, vehicle_kw: 100, ramp_kw_per_s: 1000}")
	arrives(t, p)
	expect(t, p, "ev_charger", "power_kw", 100, 0)
	write(t, p, "ev_charger", "power_limit_kw", 30)
	steps(p, 1)
	expect(t, p, "ev_charger", "power_kw", 30, 0)
	set(t, p, "ev_charger", "leave", 1)
	steps(p, 1)
	expect(t, p, "ev_charger", "power_kw", 0, 0)
	expect(t, p, "ev_charger", "sessions_short", 1, 0)
}

// The vehicles of a depot come in the evening and leave in the morning, each night
// otherwise.
func TestNightsOfADepot(t *testing.T) {
	t.Parallel()
	p := New(mustRead(t, "name: depot\nseed: 3\nstart: 2026-06-21T12:00:00Z\nstep: 10s\nlocation: {latitude_deg: 40, longitude_deg: 0}\ncontrol: 127.0.0.1:0\ndevices:\n"+
		"  - {id: grid, type: grid, listen: \"127.0.0.1:0\", profile: p.yaml}\n"+
		"  - {id: ev_charger, type: ev_charger, listen: \"127.0.0.1:0\", profile: p.yaml, parameters: {connectors: 4}}\n"))
	var evening, noon float64
	for range 24 * 4 {
		steps(p, 360)
		switch p.Latest().Simulated.Hour() {
		case 22:
			evening += value(t, p, "ev_charger", "vehicles")
		case 14:
			noon += value(t, p, "ev_charger", "vehicles")
		}
	}
	if evening < 13 || noon > 3 {
		t.Errorf("%v vehicles of 16 in the evening and %v at noon", evening, noon)
	}
	sessions, short := value(t, p, "ev_charger", "sessions"), value(t, p, "ev_charger", "sessions_short")
	if sessions < 13 || sessions > 24 || short > 3 {
		t.Errorf("%v sessions, %v of them short", sessions, short)
	}
	expect(t, p, "ev_charger", "energy_kwh", sessions*35, sessions*8)
}
