package plant

import "math"

// rank is the order in which devices take up what is missing or left over when
// no grid does: first the batteries, then the PV arrays (which can only be
// curtailed), then the gensets, and at last the loads (which can only be shed).
type rank int

const (
	rankBattery rank = iota
	rankPV
	rankGenset
	rankLoad
	rankCount
)

// offer is what a device would do in one tick. Power is positive where it flows
// into the bus. least <= wanted <= most.
type offer struct {
	rank    rank
	wanted  Power   // with a grid to lean on
	least   Power   // the lowest it can be held to
	most    Power   // the highest it can be raised to
	forms   bool    // holds voltage and frequency without a grid
	rating  Power   // of a forming device: where the frequency droop is full
	tangent float64 // reactive power drawn for each unit of active power drawn
}

// settlement is the power of each device in one tick and what flows in from the
// grid: the sum of all of it is 0, exactly.
type settlement struct {
	power []Power
	grid  Power // positive where it flows into the bus
	live  bool  // whether the bus has voltage
}

// settle closes the power balance of the bus. With a grid every device does as
// it wants and the grid takes the rest. Without one, the devices are moved off
// what they want, rank by rank, until nothing is left; within a rank each
// carries a share that follows its room. If nothing forms the bus it is dead and
// every power is 0.
func settle(offers []offer, grid bool) settlement {
	result := settlement{power: make([]Power, len(offers)), live: grid}
	for _, o := range offers {
		result.live = result.live || o.forms
	}
	if !result.live {
		return result
	}
	var sum Power
	for i, o := range offers {
		result.power[i] = o.wanted
		sum += o.wanted
	}
	if grid {
		result.grid = -sum
		return result
	}
	for r := rank(0); r < rankCount && sum != 0; r++ {
		sum = level(offers, result.power, r, sum)
	}
	return result
}

// level moves the devices of one rank against a surplus (sum above 0) or a
// deficit (below 0) and returns what is left of it.
func level(offers []offer, power []Power, r rank, sum Power) Power {
	room := make([]Power, len(offers)) // how far each can move, 0 or more
	var total Power
	for i, o := range offers {
		if o.rank != r {
			continue
		}
		if sum > 0 {
			room[i] = power[i] - o.least
		} else {
			room[i] = o.most - power[i]
		}
		total += room[i]
	}
	move := sum
	if move < 0 {
		move = -move
	}
	move = min(move, total)
	left := sum
	for i, part := range share(move, room, total) {
		if sum < 0 {
			part = -part
		}
		power[i] -= part
		left -= part
	}
	return left
}

// share divides an amount of 0 to total in proportion to the room of each,
// never beyond it; what rounding leaves over goes to the first with room.
func share(amount Power, room []Power, total Power) []Power {
	parts := make([]Power, len(room))
	if total == 0 {
		return parts
	}
	left := amount
	for i, r := range room {
		part := Power(math.Floor(float64(amount) * (float64(r) / float64(total))))
		parts[i] = min(part, r, left)
		left -= parts[i]
	}
	for i, r := range room {
		more := min(left, r-parts[i])
		parts[i] += more
		left -= more
	}
	return parts
}
