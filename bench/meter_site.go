package bench

import (
	"fmt"
	"strings"
	"time"
)

// meterFiles are the folder of a site that has a channel for each meter, polled
// with a period.
func meterFiles(name string, meters []*meter, period time.Duration) map[string]string {
	files := map[string]string{"site.yaml": siteFile(name)}
	var channels strings.Builder
	channels.WriteString("channels:\n")
	for _, one := range meters {
		fmt.Fprintf(&channels, "  - {id: %d, name: meter_%d, protocol: modbus_tcp, address: %q, poll_period: %v, timeout: %v%s}\n",
			one.channel, one.channel, one.address, period, period, one.layout.pollGroups(period))
		folder := fmt.Sprintf("points/%d/", one.channel)
		files[folder+"telemetry.csv"], files[folder+"telemetry_mapping.csv"] = one.layout.files()
	}
	files["channels.yaml"] = channels.String()
	return files
}

// pollGroups returns what channels.yaml says of the groups beside the default.
func (l layout) pollGroups(period time.Duration) string {
	var periods []string
	for group := 1; group < l.groups; group++ {
		periods = append(periods, fmt.Sprintf("part_%d: %v", group, period))
	}
	if periods == nil {
		return ""
	}
	return ", poll_groups: {" + strings.Join(periods, ", ") + "}"
}

// files returns the two tables of a channel.
func (l layout) files() (points, mappings string) {
	var names, places strings.Builder
	names.WriteString("point_id,signal_name,scale,offset,unit,reverse,data_type,poll_group\n")
	places.WriteString("point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n")
	for point := range l.points {
		address, registers := l.place(point)
		kind, order := "uint16", "AB"
		switch registers {
		case 2:
			kind, order = "float32", "ABCD"
		case 4:
			kind, order = "float64", "ABCDEFGH"
		}
		group := ""
		if part := l.group(point); part > 0 {
			group = fmt.Sprintf("part_%d", part)
		}
		fmt.Fprintf(&names, "%d,value_%d,1,0,,0,%s,%s\n", point+1, point+1, kind, group)
		fmt.Fprintf(&places, "%d,1,3,%d,%s,%s,\n", point+1, address, kind, order)
	}
	return names.String(), places.String()
}
