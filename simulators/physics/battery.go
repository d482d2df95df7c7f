package physics

// StoredChange returns the rate of the stored energy of a battery in kW for an AC
// power in kW, positive while it discharges, with the losses of each way: efficiencies
// are from AC to what is stored and back, above 0 and at most 1.
func StoredChange(powerKW, chargeEfficiency, dischargeEfficiency float64) float64 {
	if powerKW > 0 {
		return -powerKW / dischargeEfficiency
	}
	return -powerKW * chargeEfficiency
}

// CellWarming returns dT/dt in K/s from the balance of heat of cells:
// m Cp dT/dt = I^2 R - h A (T - Troom).
func CellWarming(heatKW, aboveRoomK, coolingKWPerK, heatCapacityKJPerK float64) float64 {
	return (heatKW - coolingKWPerK*aboveRoomK) / heatCapacityKJPerK
}
