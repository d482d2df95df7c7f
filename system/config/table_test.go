package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzPointTable: whatever stands in a point table and its mapping, each fault
// names the table and a line, and what is accepted can be planned and decoded. It
// reads the tables alone, because a whole site takes a hundred times as long.
func FuzzPointTable(f *testing.F) {
	const pointHead = "point_id,signal_name,scale,offset,unit,reverse,data_type,min\n"
	const mappingHead = "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position,length,sentinel\n"
	const two = pointHead + "1,a,0.1,-40,kW,1,float,\n2,b,,,-,,int,5\n"
	f.Add(two, mappingHead+"1,1,3,10,uint16,AB,,,\n2,1,4,11,int32,CDAB,0,,sunspec\n", false)
	f.Add(two, mappingHead+"1,1,3,65534,bits,ABCD,16-31,,0x80\n2,1,2,65535,bool,,,,none\n", false)
	f.Add(two, mappingHead+"1,1,3,7,string,BADC,,125,sunspec\n2,1,3,7,float16,BA,,,\n", false)
	f.Add(two, mappingHead+"1,1,6,10,bool,,3,,\n2,1,22,10,bits,AB,3-7,,\n", true)
	f.Add("point_id,signal_name\n\"", mappingHead, false)
	f.Add("\ufeff"+pointHead+"=1,@x,1e999,,,2,,NaN\n", mappingHead+"\x00", false)
	f.Add(pointHead+"\xff", "\"", false)
	f.Fuzz(func(t *testing.T, points, mapping string, writes bool) {
		kind, other := "telemetry", "adjustment"
		if writes {
			kind, other = other, kind
		}
		reader := &siteReader{tables: map[string]string{}}
		for name, text := range map[string]string{
			kind: points, kind + "_mapping": mapping, other: pointHead, other + "_mapping": mappingHead,
		} {
			reader.tables["points/1/"+name+".csv"] = text
		}
		channel := Channel{ID: 1, Modbus: Modbus{Reads: Reads{}.OrDefault()}}
		read := reader.readPoints(&channel)
		for _, fault := range reader.faults.list {
			if !strings.HasPrefix(fault.File, "points/1/"+kind) || fault.Line < 1 || len(fault.Reason) > 10_000 {
				t.Fatalf("a fault without file and line, or without end: %.200s", fault)
			}
		}
		if len(reader.faults.list) > 0 {
			return // which nothing of the site survives
		}
		channel.Points = read
		again := Channel{ID: 1, Modbus: channel.Modbus}
		if err := again.ParsePoints(channel.Tables()); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(channel.Points, again.Points); diff != "" {
			t.Fatalf("what was written is read as something else: %s", diff)
		}
		same, err := channel.Revised(map[string]string{kind: points, kind + "_mapping": mapping}, true)
		if err != nil || cmp.Diff(channel.Points, same.Points) != "" {
			t.Fatalf("merged with what it has already the channel is another: %v", err)
		}
		for _, point := range read {
			again := point.Mapping
			again.Check(point.Type, func(column, format string, args ...any) {
				t.Fatalf("%+v was accepted: %s "+format, append([]any{again, column}, args...)...)
			})
			if diff := cmp.Diff(point.Mapping, again); diff != "" {
				t.Fatalf("what was accepted changes when it is looked at again: %s", diff)
			}
			size := again.End() - int(again.Address)
			if point.ID == 0 || point.Scale == 0 || point.Name == "" || size < 1 || size > 125 || again.End() > 65536 {
				t.Fatalf("a point that cannot be used was accepted: %+v", point)
			}
		}
	})
}
