package config_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

const (
	pointHead   = "point_id,signal_name,scale,offset,unit,reverse,data_type\n"
	mappingHead = "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n"
	longHead    = "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position,length,sentinel\n"
)

// tables reads a site of one channel with these files in points/1.
func tables(t testing.TB, channel string, files map[string]string) (*config.Site, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "points", "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	whole := map[string]string{
		"site.yaml":     "site: {name: test}\n",
		"channels.yaml": "channels:\n  - {id: 1, name: a, protocol: modbus_tcp, address: '127.0.0.1:502'" + channel + "}\n",
	}
	for name, text := range files {
		whole["points/1/"+name+".csv"] = text
	}
	for name, text := range whole {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.ReadSite(dir, nil, protocols())
}

// details returns every fault of a site.
func details(t testing.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var coded *ems.Error
	if !errors.As(err, &coded) || coded.Code != ems.CodeInvalid {
		t.Fatalf("%v is no INVALID with details", err)
	}
	return coded.Details
}

// namedPoints returns a point table of so many points.
func namedPoints(count int, name string) string {
	table := pointHead
	for id := 1; id <= count; id++ {
		table += fmt.Sprintf("%d,%s_%d,1,0,,0,\n", id, name, id)
	}
	return table
}

// TestPointTableFaults: each fault is told with its line and the name of its
// column, and nothing else is.
func TestPointTableFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		table string
		want  []string
	}{
		"missing column":   {"point_id,signal_name,scale,offset,reverse,data_type\n", []string{`1: column "unit" is missing`}},
		"semicolons":       {strings.ReplaceAll(pointHead, ",", ";") + "1;a;0,1;0;;0;\n", []string{"1: the columns are parted by semicolons or tabs: use commas, and points in numbers"}},
		"unknown column":   {"dead," + pointHead, []string{`1: unknown column "dead": the columns are point_id,signal_name,scale,offset,unit,reverse,data_type, and where wanted deadband,min,max,poll_group,max_step,max_rate,safe_value,select_timeout`}},
		"column twice":     {"unit," + pointHead, []string{`1: column "unit" stands twice`}},
		"many columns":     {strings.Repeat("a,", 100) + "a\n", []string{`1: 101 columns: the columns are point_id,signal_name,scale,offset,unit,reverse,data_type, and where wanted deadband,min,max,poll_group,max_step,max_rate,safe_value,select_timeout`}},
		"no header":        {"", []string{"1: the first line must name the columns: point_id,signal_name,scale,offset,unit,reverse,data_type"}},
		"cells":            {pointHead + "1,a,1,0,,0\n", []string{"2: 6 columns where the first line names 7"}},
		"id":               {pointHead + "01,a,1,0,,0,\n", []string{`2: point_id "01" is not a number of 1 or more`}},
		"id of 33 bits":    {pointHead + "4294967296,a,1,0,,0,\n", []string{`2: point_id "4294967296" is not a number of 1 or more`}},
		"duplicate id":     {pointHead + "1,a,1,0,,0,\n\n1,b,1,0,,0,\n", []string{"4: point_id 1 stands already in line 2: give each point of a table its own"}},
		"no name":          {pointHead + "1,,1,0,,0,\n", []string{"2: signal_name must have 1 to 100 characters"}},
		"same name":        {pointHead + "1,a,1,0,,0,\n2,a,1,0,,0,\n", []string{`3: signal_name "a" is already used at points/1/telemetry.csv:2: names are unique in a channel`}},
		"formula =":        {pointHead + "1,=1+1,1,0,,0,\n", []string{`2: signal_name "=1+1" begins with =, and a spreadsheet would run it as a formula: begin with something else`}},
		"formula +":        {pointHead + "1,+a,1,0,,0,\n", []string{`2: signal_name "+a" begins with +, and a spreadsheet would run it as a formula: begin with something else`}},
		"formula -":        {pointHead + "1,-a,1,0,,0,\n", []string{`2: signal_name "-a" begins with -, and a spreadsheet would run it as a formula: begin with something else`}},
		"formula @":        {pointHead + "1,\"\t@SUM(A1)\",1,0,,0,\n", []string{`2: signal_name "@SUM(A1)" begins with @, and a spreadsheet would run it as a formula: begin with something else`}},
		"formula in unit":  {pointHead + "1,a,1,0,=A1,0,\n", []string{`2: unit "=A1" begins with =, and a spreadsheet would run it as a formula: begin with something else`}},
		"control in name":  {pointHead + "1,\"a\nb\",1,0,,0,\n", []string{`2: signal_name "a\nb" has a control character`}},
		"long unit":        {pointHead + "1,a,1,0,123456789012345678901,0,\n", []string{`2: unit "123456789012345678901" is longer than 20 characters`}},
		"scale 0":          {pointHead + "1,a,0.000,0,,0,\n", []string{"2: scale is 0: a value could not be told from its offset, and a write could not be inverted"}},
		"scale NaN":        {pointHead + "1,a,NaN,0,,0,\n", []string{`2: scale "NaN" is not a finite number`}},
		"offset infinite":  {pointHead + "1,a,1,1e999,,0,\n", []string{`2: offset "1e999" is not a finite number`}},
		"reverse":          {pointHead + "1,a,1,0,,perhaps,\n", []string{`2: reverse "perhaps" is neither true nor false`}},
		"data type":        {pointHead + "1,a,1,0,,0,blob\n", []string{`2: data_type "blob" is unknown: use float, double, int or one of bool, bits, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float16, float32, float64, bcd16, bcd32, string`}},
		"deadband":         {"deadband," + pointHead + "-1,1,a,1,0,,0,\n", []string{"2: deadband -1 is negative"}},
		"min above max":    {"min,max," + pointHead + "60,50,1,a,1,0,,0,\n", []string{"2: min 60 is above max 50"}},
		"poll group":       {"poll_group," + pointHead + "fast!,1,a,1,0,,0,\n", []string{`2: poll_group "fast!" has an unusable character '!': use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit`}},
		"quote":            {pointHead + "1,a\"b,1,0,,0,\n", []string{`2: column 4: bare " in non-quoted-field`}},
		"quote never ends": {pointHead + "1,\"a,1,0,,0,\n", []string{`2: column 14: extraneous or missing " in quoted-field`}},
		"NUL":              {pointHead + "1,a\x00,1,0,,0,\n", []string{"2: column 4: a NUL byte: this is not a text file, save the table as CSV in UTF-8"}},
		"UTF-16":           {"\xff\xfep\x00o\x00", []string{"1: column 4: a NUL byte: this is not a text file, save the table as CSV in UTF-8"}},
		"Latin-1":          {"\ufeff" + pointHead + "1,a,1,0,°\xb0C,0,\n", []string{"2: column 11: a byte that is no UTF-8: save the table as CSV in UTF-8"}},
		"long cell":        {pointHead + "1,a,1,0,,0," + strings.Repeat("x", 1001) + "\n", []string{"2: data_type has 1001 bytes, more than 1000"}},
		"all of one row":   {pointHead + "0,,0,x,,?,\n", []string{`2: point_id "0" is not a number of 1 or more`, `2: offset "x" is not a finite number`, `2: reverse "?" is neither true nor false`, "2: signal_name must have 1 to 100 characters", "2: scale is 0: a value could not be told from its offset, and a write could not be inverted"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mapping := mappingHead + "1,1,3,0,uint16,,\n"
			if strings.Count(test.table, "\n2,") > 0 {
				mapping += "2,1,3,1,uint16,,\n"
			}
			site, err := tables(t, "", map[string]string{"telemetry": test.table, "telemetry_mapping": mapping})
			var got []string
			for _, fault := range details(t, err) {
				if !strings.Contains(fault, "has no row in") { // which only follows
					got = append(got, strings.TrimPrefix(fault, "points/1/telemetry.csv:"))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || site != nil {
				t.Error(diff)
			}
		})
	}
}

// mappingFault is a row after its point_id, and the fault that it is.
type mappingFault struct{ row, want string }

const types = "bool, bits, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float16, float32, float64, bcd16, bcd32, string"

func TestMappingFaults(t *testing.T) {
	t.Parallel()
	checkMappingFaults(t, "telemetry", []mappingFault{
		{"256,3,0,uint16,,,,", `slave_id "256" is not a whole number from 0 to 255`},
		{"1,0,0,uint16,,,,", `function_code "0" is not a whole number from 1 to 22`},
		{"1,7,0,uint16,,,,", "function_code 7 is none of 1 to 6, 15, 16 and 22"},
		{"1,3,65536,uint16,,,,", `register_address "65536" is not a whole number from 0 to 65535`},
		{"1,3,-1,uint16,,,,", `register_address "-1" is not a whole number from 0 to 65535`},
		{"1,3,0x10,uint16,,,,", `register_address "0x10" is not a whole number from 0 to 65535`},
		{"1,3,65535,uint32,,,,", "register_address 65535: uint32 would run past address 65535"},
		{"1,3,65530,string,,,7,", "register_address 65530: string would run past address 65535"},
		{"1,3,65534,bits,ABCDEFGH,1,,", "register_address 65534: bits would run past address 65535"},
		{"1,3,0,uint17,,,,", `data_type "uint17" is unknown: use one of ` + types},
		{"1,3,0,,,,,", `data_type "" is unknown: use one of ` + types},
		{"1,1,0,uint16,,,,", "data_type uint16 does not fit function_code 1, which carries single bits: use bool"},
		{"1,2,0,bits,,1,,", "data_type bits does not fit function_code 2, which carries single bits: use bool"},
		{"1,3,0,uint16,ABCD,,,", `byte_order "ABCD" does not fit uint16: use one of AB, BA`},
		{"1,3,0,int32,ACBD,,,", `byte_order "ACBD" does not fit int32: use one of ABCD, DCBA, BADC, CDAB`},
		{"1,3,0,int64,ABCD,,,", `byte_order "ABCD" does not fit int64: use one of ABCDEFGH, HGFEDCBA, BADCFEHG, GHEFCDAB, EFGHABCD, FEHGBADC, CDABGHEF, DCBAHGFE`},
		{"1,3,0,bool,XY,1,,", `byte_order "XY" does not fit bool: use one of AB, BA, ABCD, DCBA, BADC, CDAB`},
		{"1,3,0,bool,AB,,,", "bit_position is missing: a bool in a register needs one from 0 to 15"},
		{"1,3,0,bool,AB,16,,", "bit_position 16 is not from 0 to 15"},
		{"1,3,0,bool,AB,0-1,,", "bit_position 0-1 names several bits: that is data_type bits"},
		{"1,3,0,uint16,AB,0-7,,", "bit_position 0-7 names several bits: that is data_type bits"},
		{"1,3,0,bits,AB,,,", "bit_position is missing: name the bits, for example 4-7"},
		{"1,3,0,bits,AB,12-16,,", "bit_position 16 is not below 16, the bits that byte_order AB has"},
		{"1,3,0,bits,CDAB,32,,", "bit_position 32 is not below 32, the bits that byte_order CDAB has"},
		{"1,3,0,bits,AB,7-4,,", `bit_position "7-4" is neither a bit from 0 to 63 nor several, written as 4-7`},
		{"1,3,0,bits,AB,4-,,", `bit_position "4-" is neither a bit from 0 to 63 nor several, written as 4-7`},
		{"1,3,0,bits,AB,64,,", `bit_position "64" is neither a bit from 0 to 63 nor several, written as 4-7`},
		{"1,3,0,int8,AB,4,,", "bit_position 4 is neither 0, for the low byte, nor 8, for the high one"},
		{"1,3,0,string,,,,", "length 0 is not from 1 to 125: give a string its length in registers, two characters each"},
		{"1,3,0,string,,,126,", `length "126" is not a whole number from 1 to 125`},
		{"1,3,0,uint16,,,1,", "length is for strings alone: leave it empty for uint16"},
		{"1,3,0,uint16,,,,yes", `sentinel "yes" is neither none nor sunspec nor the 16 bits of the registers in hex, for example 0x8000`},
		{"1,3,0,uint16,,,,32768", `sentinel "32768" is neither none nor sunspec nor the 16 bits of the registers in hex, for example 0x8000`},
		{"1,3,0,uint16,,,,0x10000", `sentinel "0x10000" is neither none nor sunspec nor the 16 bits of the registers in hex, for example 0x8000`},
		{"1,3,0,int8,,,,sunspec", "sentinel sunspec says nothing of int8: give the registers in hex, for example 0xFFFF"},
		{"1,3,0,string,,,2,0x0", `sentinel "0x0" does not fit a string: use sunspec, where nothing but zeros is no text`},
		{"1,1,0,bool,,,,0x1", `sentinel "0x1": a coil or discrete input has no room for one`},
		{"1,6,0,uint16,,,,", "function_code 6 does not read: use 1 (coils), 2 (discrete inputs), 3 (holding registers) or 4 (input registers)"},
	})
	checkMappingFaults(t, "adjustment", []mappingFault{
		{"1,3,0,uint16,,,,", "function_code 3 does not write: use 5 or 15 (coils), 6 or 16 (holding registers), or 22 (bits of one)"},
		{"1,6,0,float32,,,,", "function_code 6 writes one register and float32 takes 2: use 16"},
		{"1,6,0,bits,ABCD,1,,", "function_code 6 writes one register and bits takes 2: use 16"},
		{"1,22,0,bits,ABCD,1,,", "function_code 22 writes some bits of one register: use 6 or 16 for bits"},
		{"1,22,0,uint16,,,,", "function_code 22 writes some bits of one register: use 6 or 16 for uint16"},
		{"1,16,0,string,,,4,", "data_type string cannot be written: it has no number for a command to carry"},
	})
}

// checkMappingFaults expects of each row of a mapping table one fault and nothing
// else.
func checkMappingFaults(t *testing.T, kind string, rows []mappingFault) {
	t.Helper()
	mapping := longHead
	var want []string
	for i, one := range rows {
		mapping += fmt.Sprintf("%d,%s\n", i+1, one.row)
		want = append(want, fmt.Sprintf("points/1/%s_mapping.csv:%d: %s", kind, i+2, one.want))
	}
	_, err := tables(t, "", map[string]string{kind: namedPoints(len(rows), "point"), kind + "_mapping": mapping})
	if diff := cmp.Diff(want, details(t, err)); diff != "" {
		t.Error(diff)
	}
}

// TestMappingMeansWhatItSays: what is left out gets its meaning, and what tables
// of the existing system carry without one is dropped.
func TestMappingMeansWhatItSays(t *testing.T) {
	t.Parallel()
	rows := map[string]config.Mapping{
		"1,3,7,uint16,,0,,none":               {Unit: 1, Function: 3, Address: 7, DataType: config.Uint16, ByteOrder: "AB", Bit: -1},
		"1,2,7,bool,ABCD,3,,":                 {Unit: 1, Function: 2, Address: 7, DataType: config.Bool, ByteOrder: "AB", Bit: -1},
		"1,4,7,bool,DCBA,3,,":                 {Unit: 1, Function: 4, Address: 7, DataType: config.Bool, ByteOrder: "AB", Bit: 3},
		"1,4,7,bool,BA,3,,":                   {Unit: 1, Function: 4, Address: 7, DataType: config.Bool, ByteOrder: "BA", Bit: 3},
		"1,3,7,bits,,4-7,,":                   {Unit: 1, Function: 3, Address: 7, DataType: config.Bits, ByteOrder: "AB", Bit: 4, Bits: 4},
		"1,3,7,bits,CDAB,17,,":                {Unit: 1, Function: 3, Address: 7, DataType: config.Bits, ByteOrder: "CDAB", Bit: 17, Bits: 1},
		"1,3,65532,bits,ABCDEFGH,0-63,,":      {Unit: 1, Function: 3, Address: 65532, DataType: config.Bits, ByteOrder: "ABCDEFGH", Bits: 64},
		"1,3,7,int8,,,,":                      {Unit: 1, Function: 3, Address: 7, DataType: config.Int8, ByteOrder: "AB"},
		"1,3,7,uint8,,8,,":                    {Unit: 1, Function: 3, Address: 7, DataType: config.Uint8, ByteOrder: "AB", Bit: 8},
		"1,3,65535,uint16,,,,":                {Unit: 1, Function: 3, Address: 65535, DataType: config.Uint16, ByteOrder: "AB", Bit: -1},
		"1,3,7,int64,EFGHABCD,,,":             {Unit: 1, Function: 3, Address: 7, DataType: config.Int64, ByteOrder: "EFGHABCD", Bit: -1},
		"1,3,7,string,,,16,sunspec":           {Unit: 1, Function: 3, Address: 7, DataType: config.String, ByteOrder: "AB", Bit: -1, Length: 16, Sentinel: &config.Sentinel{}},
		"1,3,7,int16,,,,sunspec":              {Unit: 1, Function: 3, Address: 7, DataType: config.Int16, ByteOrder: "AB", Bit: -1, Sentinel: &config.Sentinel{Mask: 0xffff, Bits: 0x8000}},
		"1,3,7,uint32,,,,sunspec":             {Unit: 1, Function: 3, Address: 7, DataType: config.Uint32, ByteOrder: "ABCD", Bit: -1, Sentinel: &config.Sentinel{Mask: 0xffffffff, Bits: 0xffffffff}},
		"1,3,7,int64,,,,sunspec":              {Unit: 1, Function: 3, Address: 7, DataType: config.Int64, ByteOrder: "ABCDEFGH", Bit: -1, Sentinel: &config.Sentinel{Mask: 1<<64 - 1, Bits: 1 << 63}},
		"1,3,7,bits,ABCD,0-3,,sunspec":        {Unit: 1, Function: 3, Address: 7, DataType: config.Bits, ByteOrder: "ABCD", Bits: 4, Sentinel: &config.Sentinel{Mask: 1 << 31, Bits: 1 << 31}},
		"1,3,7,float32,,,,sunspec":            {Unit: 1, Function: 3, Address: 7, DataType: config.Float32, ByteOrder: "ABCD", Bit: -1},
		"1,3,7,float64,,,,0XFFEFFFFFffffffff": {Unit: 1, Function: 3, Address: 7, DataType: config.Float64, ByteOrder: "ABCDEFGH", Bit: -1, Sentinel: &config.Sentinel{Mask: 1<<64 - 1, Bits: 0xffefffffffffffff}},
	}
	mapping, order := longHead, slices.Sorted(maps.Keys(rows))
	for i, row := range order {
		mapping += fmt.Sprintf("%d,%s\n", i+1, row)
	}
	site, err := tables(t, "", map[string]string{"telemetry": namedPoints(len(order), "point"), "telemetry_mapping": mapping})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range order {
		if diff := cmp.Diff(rows[row], site.Channels[0].Points[i].Mapping); diff != "" {
			t.Errorf("%s: %s", row, diff)
		}
	}
}

// TestALoneDashIsNoFormula: it is how many tables write that there is no unit.
func TestALoneDashIsNoFormula(t *testing.T) {
	t.Parallel()
	site, err := tables(t, "", map[string]string{"telemetry": pointHead + "1,a,1,0,-,0,\n", "telemetry_mapping": mappingHead + "1,1,3,0,uint16,,\n"})
	if err != nil || site.Channels[0].Points[0].Unit != "-" {
		t.Error(err)
	}
}

// TestAllThatIsWrongInAMappingIsTold at once, and nothing that follows from what could
// not be read.
func TestAllThatIsWrongInAMappingIsTold(t *testing.T) {
	t.Parallel()
	_, err := tables(t, ", modbus: {forbidden: [{first: 9, last: 9}]}", map[string]string{"telemetry": namedPoints(6, "point"), "telemetry_mapping": longHead +
		"1,256,x,-1,int5,ABCD,70,,\n" +
		"2,x,7,x,uint16,ABCD,,4,0x1\n" +
		"3,1,x,0,bool,,,,\n" + // whether it needs a bit is not known
		"4,1,6,0,uint16,DCBA,3-4,1,\n" +
		"5,1,3,9,string,,,0,\n" +
		"6,1,3,9,bool,,16,,0x10000\n"})
	want := []string{
		`2: slave_id "256" is not a whole number from 0 to 255`, `2: function_code "x" is not a whole number from 1 to 22`,
		`2: register_address "-1" is not a whole number from 0 to 65535`, `2: bit_position "70" is neither a bit from 0 to 63 nor several, written as 4-7`,
		"2: data_type \"int5\" is unknown: use one of bool, bits, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float16, float32, float64, bcd16, bcd32, string",
		`3: slave_id "x" is not a whole number from 0 to 255`, `3: register_address "x" is not a whole number from 0 to 65535`,
		"3: function_code 7 is none of 1 to 6, 15, 16 and 22", "3: length is for strings alone: leave it empty for uint16", `3: byte_order "ABCD" does not fit uint16: use one of AB, BA`,
		`4: function_code "x" is not a whole number from 1 to 22`,
		"5: length is for strings alone: leave it empty for uint16", `5: byte_order "DCBA" does not fit uint16: use one of AB, BA`,
		"5: bit_position 3-4 names several bits: that is data_type bits", "5: function_code 6 does not read: use 1 (coils), 2 (discrete inputs), 3 (holding registers) or 4 (input registers)",
		`6: length "0" is not a whole number from 1 to 125`,
		"7: bit_position 16 is not from 0 to 15", `7: sentinel "0x10000" is neither none nor sunspec nor the 16 bits of the registers in hex, for example 0x8000`,
		"7: register_address 9 is in a range that the channel forbids to read",
	}
	for i := range want {
		want[i] = "points/1/telemetry_mapping.csv:" + want[i]
	}
	if diff := cmp.Diff(want, details(t, err)); diff != "" {
		t.Error(diff)
	}
}

// TestOverlappingWriteTargets: two points of a channel never write the same bits;
// each may write its own of one register, and many may read the same.
func TestOverlappingWriteTargets(t *testing.T) {
	t.Parallel()
	_, err := tables(t, "", map[string]string{
		"telemetry": namedPoints(2, "read"), "telemetry_mapping": mappingHead + "1,1,3,10,uint32,,\n2,1,3,11,uint16,,\n",
		"control": namedPoints(7, "switch"),
		"control_mapping": mappingHead +
			"1,1,5,10,bool,,\n2,1,15,10,bool,,\n" + // the same coil
			"3,1,6,10,bool,AB,3\n4,1,22,10,bits,AB,4-7\n5,1,16,10,bits,BA,8-15\n" + // 8-15 of swapped bytes is 0-7
			"6,2,5,10,bool,,\n7,1,5,11,bool,,\n",
		"adjustment": namedPoints(4, "point"),
		"adjustment_mapping": mappingHead +
			"1,1,16,9,float32,,\n2,1,16,11,float64,,\n3,1,6,14,uint16,,\n4,2,6,10,uint16,,\n",
	})
	want := []string{
		"points/1/adjustment_mapping.csv:2: register_address 10 is written by points/1/control_mapping.csv:4 too: give each place one point that writes it",
		"points/1/adjustment_mapping.csv:4: register_address 14 is written by points/1/adjustment_mapping.csv:3 too: give each place one point that writes it",
		"points/1/control_mapping.csv:3: register_address 10 is written by points/1/control_mapping.csv:2 too: give each place one point that writes it",
		"points/1/control_mapping.csv:6: register_address 10 is written by points/1/control_mapping.csv:4 too: give each place one point that writes it",
	}
	if diff := cmp.Diff(want, details(t, err)); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsOfReads(t *testing.T) {
	t.Parallel()
	site, err := tables(t, `, modbus: {max_registers: 50, max_coils: 100, max_gap: 0, max_coil_gap: 7, probe_after: 1h, forbidden: [{first: 10, last: 19}, {unit: 0, function: 4, first: 65535, last: 65535}]}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Reads{
		MaxRegisters: 50, MaxCoils: 100, MaxCoilGap: 7, ProbeAfter: 3600e9,
		Forbidden: []config.ForbiddenRange{{Unit: -1, First: 10, Last: 19}, {Unit: 0, Function: 4, First: 65535, Last: 65535}},
	}
	if diff := cmp.Diff(want, site.Channels[0].Modbus.Reads); diff != "" {
		t.Error(diff)
	}
	channels := "}\n"
	var faults []string
	for i, one := range [][2]string{
		{"max_registers: 126", "max_registers: 126 is not from 1 to 125"},
		{"max_registers: 0", "max_registers: 0 is not from 1 to 125"},
		{"max_coils: 2001", "max_coils: 2001 is not from 1 to 2000"},
		{"max_gap: 125", "max_gap: 125 is not from 0 to 124"},
		{"max_coil_gap: -1", "max_coil_gap: -1 is not from 0 to 1999"},
		{"probe_after: 1ms", "probe_after: 1ms is not between 1s and 24h0m0s"},
		{"forbidden: [{first: 1}]", "forbidden[0]: a forbidden range needs the addresses first and last"},
		{"forbidden: [{first: 2, last: 1}]", "forbidden[0]: first 2 is above last 1"},
		{"forbidden: [{first: 1, last: 65536}]", "forbidden[0].last: 65536 is not from 0 to 65535"},
		{"forbidden: [{first: 1, last: 2, unit: 256}]", "forbidden[0].unit: 256 is not from 0 to 255"},
		{"forbidden: [{first: 1, last: 2, function: 16}]", "forbidden[0].function: 16 is not from 1 to 4"},
	} {
		channels += fmt.Sprintf("  - {id: %d, name: a, protocol: modbus_tcp, address: '127.0.0.1:502', modbus: {%s}}\n", i+2, one[0])
		faults = append(faults, fmt.Sprintf("channels.yaml:%d: channels[%d].modbus.%s", i+3, i+1, one[1]))
	}
	_, err = tables(t, strings.TrimSuffix(channels, "}\n"), nil)
	if diff := cmp.Diff(faults, details(t, err)); diff != "" {
		t.Error(diff)
	}
	_, err = tables(t, ", modbus: {max_registres: 1}", nil)
	if diff := cmp.Diff([]string{`channels.yaml:2: unknown key "max_registres": check its spelling and indentation`}, details(t, err)); diff != "" {
		t.Error(diff)
	}
}

// TestPointsKeepToTheSettings: a point in a forbidden range, or longer than a read
// may be, is a fault, and not one that is left out later.
func TestPointsKeepToTheSettings(t *testing.T) {
	t.Parallel()
	_, err := tables(t, `, modbus: {max_registers: 2, forbidden: [{unit: 1, function: 3, first: 10, last: 19}, {function: 1, first: 5, last: 5}]}`, map[string]string{
		"telemetry": namedPoints(8, "read"),
		"telemetry_mapping": longHead +
			"1,1,3,9,uint32,,,,\n2,1,3,9,uint16,,,,\n3,1,3,19,uint32,,,,\n4,1,3,20,uint16,,,,\n" +
			"5,1,4,10,uint16,,,,\n6,2,3,10,uint16,,,,\n7,1,3,30,float64,,,,\n8,1,3,40,string,,,3,\n",
		"control": namedPoints(3, "point"), "control_mapping": mappingHead + "1,1,5,5,bool,,\n2,7,5,5,bool,,\n3,1,22,12,bool,,1\n",
	})
	want := []string{
		"points/1/control_mapping.csv:2: register_address 5 is in a range that the channel forbids to read",
		"points/1/control_mapping.csv:3: register_address 5 is in a range that the channel forbids to read",
		"points/1/control_mapping.csv:4: register_address 12 is in a range that the channel forbids to read",
		"points/1/telemetry_mapping.csv:2: register_address 9 is in a range that the channel forbids to read",
		"points/1/telemetry_mapping.csv:4: register_address 19 is in a range that the channel forbids to read",
		"points/1/telemetry_mapping.csv:8: data_type float64 takes 4 registers, and the channel allows reads of 2",
		"points/1/telemetry_mapping.csv:9: data_type string takes 3 registers, and the channel allows reads of 2",
	}
	if diff := cmp.Diff(want, details(t, err)); diff != "" {
		t.Error(diff)
	}
}

// TestARuleNeedsANumber: a rule that watches a text would never fire.
func TestARuleNeedsANumber(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	table := longHead + "1,1,3,10,uint16,AB,,,\n2,1,4,11,string,,,8,\n"
	if err := os.WriteFile(dir+"/points/1001/telemetry_mapping.csv", []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.ReadSite(dir, nil, protocols())
	for _, fault := range details(t, err) {
		if !strings.HasPrefix(fault, "rules.yaml:") || !strings.HasSuffix(fault, ".source: comsrv:1001:T:2 is a text, which has no number (rule hot)") {
			t.Error(fault)
		}
	}
	if err == nil {
		t.Error("accepted")
	}
}

// TestTablesAreBounded: however large or wrong a table is, it costs little and
// says so in few words.
func TestTablesAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(dir+"/points/1001/telemetry.csv", 100<<20); err != nil {
		t.Fatal(err)
	}
	_, err := config.ReadSite(dir, nil, protocols())
	if diff := cmp.Diff([]string{"points/1001/telemetry.csv: larger than 16 MiB"}, details(t, err)); diff != "" {
		t.Error(diff)
	}
	_, err = tables(t, "", map[string]string{"telemetry": pointHead + strings.Repeat("0,,0,x,,?,\n", 100_000)})
	found := details(t, err)
	if len(found) > 1010 || found[len(found)-1] != "points/1/telemetry.csv:202: more than 1000 faults above: the rest was not looked at" {
		t.Errorf("%d faults, the last is %s", len(found), found[len(found)-1])
	}
	many := []byte(pointHead)
	for id := range 100_001 {
		many = fmt.Appendf(many, "%d,p%d,1,0,,0,\n", id+1, id+1)
	}
	_, err = tables(t, "", map[string]string{"telemetry": string(many)})
	if diff := cmp.Diff([]string{"points/1/telemetry.csv:100002: more than 100000 rows"}, details(t, err)); diff != "" {
		t.Error(diff)
	}
}
