package comsrv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestRegistersAreReadOverHTTP: any range of any unit, with all that two registers
// may mean.
func TestRegistersAreReadOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() {
		d.holding[100], d.holding[101], d.holding[102] = 0x4148, 0x0001, 0xfff6
		d.inputs[65535] = 0x7fc0
		d.coils[9], d.discrete[1] = true, true
	})
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	read := func(body string) string {
		status, reply := p.call(http.MethodPost, "/api/channels/1/registers/read", body)
		if status != http.StatusOK {
			return fmt.Sprintf("%d %s %s", status, reply.Error.Code, reply.Error.Message)
		}
		return string(reply.Data)
	}
	for body, want := range map[string]string{
		`{"unit": 7, "function": 3, "address": 100, "count": 3}`: `{"unit":7,"function":3,"address":100,"count":3,"hex":"41480001fff6","registers":[` +
			`{"address":100,"uint16":16712,"int16":16712,` +
			`"uint32":{"ABCD":1095237633,"BADC":1212219648,"CDAB":82248,"DCBA":16795713},` +
			`"int32":{"ABCD":1095237633,"BADC":1212219648,"CDAB":82248,"DCBA":16795713},` +
			`"float32":{"ABCD":12.500001,"BADC":197636,"CDAB":1.15254e-40,"DCBA":2.3561727e-38}},` +
			`{"address":101,"uint16":1,"int16":1,` +
			`"uint32":{"ABCD":131062,"BADC":16840447,"CDAB":4294311937,"DCBA":4143907072},` +
			`"int32":{"ABCD":131062,"BADC":16840447,"CDAB":-655359,"DCBA":-151060224},` +
			`"float32":{"ABCD":1.83657e-40,"BADC":2.3687098e-38,"CDAB":null,"DCBA":-2.5860468e+33}},` +
			`{"address":102,"uint16":65526,"int16":-10}]}`,
		`{"unit": 1, "function": 4, "address": 65535, "count": 1}`: `{"unit":1,"function":4,"address":65535,"count":1,"hex":"7fc0","registers":[` +
			`{"address":65535,"uint16":32704,"int16":32704}]}`,
		`{"unit": 1, "function": 1, "address": 8, "count": 3}`:                   `{"unit":1,"function":1,"address":8,"count":3,"bits":[0,1,0]}`,
		`{"unit": 0, "function": 2, "address": 0, "count": 2}`:                   `{"unit":0,"function":2,"address":0,"count":2,"bits":[0,1]}`,
		`{"unit": 1, "function": 5, "address": 0, "count": 1}`:                   "400 INVALID function 5 does not read: use 1 (coils), 2 (discrete inputs), 3 (holding registers) or 4 (input registers)",
		`{"unit": 1, "function": 3, "address": 0, "count": 126}`:                 "400 INVALID 126 is not from 1 to 125, which is what one request of function 3 may carry",
		`{"unit": 1, "function": 3, "address": 0}`:                               "400 INVALID count is needed: how many registers or coils to read",
		`{"unit": 1, "function": 1, "address": 0, "count": 2001}`:                "400 INVALID 2001 is not from 1 to 2000, which is what one request of function 1 may carry",
		`{"unit": 1, "function": 3, "address": 65500, "count":37}`:               "400 INVALID 37 from address 65500 on would run past address 65535",
		`{"function": 3, "address": 0, "count": 1}`:                              "400 INVALID unit, function and address are needed: for example 1, 3 and 0",
		`{"unit": 256, "function": 3, "address": 0, "count": 1}`:                 "400 INVALID the body is not the JSON that is expected: unit: number 256 where a whole number from 0 to 255 is expected",
		`{"unit": 1, "function": 3, "address": 0, "count": 1, "deadline_ms": 0}`: "400 INVALID deadline_ms 0 is not between 1 and 60000",
		`{"unit": 1, "function": 3, "address": 0, "size": 1}`:                    `400 INVALID the body is not the JSON that is expected: json: unknown field "size"`,
	} {
		if diff := cmp.Diff(want, read(body)); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
	d.set(func() { d.refuse[3] = 2 })
	const one = `{"unit": 1, "function": 3, "address": 9, "count": 1}`
	if got := read(one); got != "409 CONFLICT the device answered exception 2 (illegal data address) to function 3" {
		t.Error(got)
	}
	d.set(func() { d.refuse[3] = 11 }) // a gateway says that the device does not
	if got := read(one); got != "503 UNAVAILABLE the gateway answered exception 11 (gateway target did not respond) to function 3" {
		t.Error(got)
	}
	d.off()
	p.eventually(func() error { // the first request may go out on the connection that has just been cut
		if got, want := read(one), d.address+" cannot be reached: connect: connection refused"; !strings.HasPrefix(got, "503 UNAVAILABLE ") || !strings.HasSuffix(got, want) {
			return fmt.Errorf("%s", got)
		}
		return nil
	}, "that it cannot be reached")
	d.set(func() { delete(d.refuse, 3) })
	d.on()
	p.eventually(func() error { // before the channel itself tries again, which it does after a pause
		if got := read(`{"unit": 1, "function": 1, "address": 8, "count": 2}`); got != `{"unit":1,"function":1,"address":8,"count":2,"bits":[0,1]}` {
			return fmt.Errorf("%s", got)
		}
		return nil
	}, "the device")
}

// TestRegistersAreWrittenOverHTTP: once each, and noted before and after.
func TestRegistersAreWrittenOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.Timeout = 2 * time.Second
	p := newPlant(t, entry, field(2, strings.Replace(d.address, "127.0.0.1", "LocalHost", 1), mapped(ems.Adjustment, 1, "other", config.Mapping{Unit: 9, Function: 16, Address: 300, DataType: config.Float32})))
	p.start()
	p.awaitStatus(1, true, "")
	write := func(body string) string {
		status, reply := p.call(http.MethodPost, "/api/channels/1/registers/write", body)
		if status != http.StatusOK {
			return fmt.Sprintf("%d %s %s", status, reply.Error.Code, reply.Error.Message)
		}
		ended := decode[ems.RegisterWrite](t, reply)
		return fmt.Sprintf("%s %s", ended.State, ended.Reason)
	}
	const command = ": use a command, which keeps its limits and interlocks"
	for _, test := range [][2]string{
		{`{"unit": 1, "function": 5, "address": 50, "values": [1], "by": "Ann"}`, "done "},
		{`{"unit": 1, "function": 6, "address": 51, "values": [77]}`, "done "},
		{`{"unit": 8, "function": 15, "address": 52, "values": [1, 0, 1]}`, "done "},
		{`{"unit": 1, "function": 16, "address": 53, "values": [1, 65535]}`, "done "},
		{`{"unit": 1, "function": 3, "address": 53, "values": [1]}`, "400 INVALID function 3 does not write: use 5 or 15 (coils), 6 or 16 (holding registers)"},
		{`{"unit": 1, "function": 22, "address": 53, "values": [1]}`, "400 INVALID function 22 does not write: use 5 or 15 (coils), 6 or 16 (holding registers)"},
		{`{"unit": 1, "function": 6, "address": 53, "values": [1, 2]}`, "400 INVALID 2 is not from 1 to 1, which is what one request of function 6 may carry"},
		{`{"unit": 1, "function": 16, "address": 53, "values": []}`, "400 INVALID 0 is not from 1 to 123, which is what one request of function 16 may carry"},
		{`{"unit": 1, "function": 16, "address": 53}`, "400 INVALID values are needed: what to write"},
		{`{"unit": 1, "function": 16, "address": 53, "values": [70000]}`, "400 INVALID the body is not the JSON that is expected: values[0]: number 70000 where a whole number from 0 to 65535 is expected"},
		{`{"unit": 1, "function": 15, "address": 53, "values": [0, 2]}`, "400 INVALID values[1]: 2 is neither 0 nor 1, and a coil is a single bit"},
		{`{"unit": 1, "function": 6, "address": 53, "values": [1], "by": "\n"}`, "400 INVALID by has control characters, or more than 100 bytes"},
		{`{"unit": 1, "function": 16, "address": 11, "values": [1, 2]}`, "409 CONFLICT setpoint of channel 1 (A:2) is written there" + command},
		{`{"unit": 1, "function": 6, "address": 20, "values": [1]}`, "409 CONFLICT remote of channel 1 (C:2) is written there" + command},
		{`{"unit": 9, "function": 6, "address": 301, "values": [1]}`, "409 CONFLICT other of channel 2 (A:1) is written there" + command},
		{`{"unit": 2, "function": 6, "address": 10, "values": [1]}`, "done "},
		{`{"unit": 1, "function": 15, "address": 10, "values": [1]}`, "done "},
	} {
		if got := write(test[0]); got != test[1] {
			t.Errorf("%s: %s", test[0], got)
		}
	}
	d.set(func() { d.refuse[6], d.silent[5] = 3, true })
	if got := write(`{"unit": 1, "function": 6, "address": 51, "values": [78]}`); got != "409 CONFLICT the write failed: refused by the device: the device answered exception 3 (illegal data value) to function 6" {
		t.Error(got)
	}
	if got := write(`{"unit": 1, "function": 5, "address": 60, "values": [1], "by": "Bob"}`); !strings.HasPrefix(got, "504 UNKNOWN whether the device has executed the write is unknown: not confirmed: ") || !strings.HasSuffix(got, " did not answer in whole within 2s") {
		t.Error(got)
	}
	want := []string{"5@50=65280", "6@51=77", "15@52=3", "16@53=2", "6@10=1", "15@10=1", "6@51=78", "5@60=65280"}
	if diff := cmp.Diff(want, d.written()); diff != "" {
		t.Error(diff)
	}
	var notes []string
	for after := ""; ; {
		_, reply := p.call(http.MethodGet, "/api/channels/1/registers/writes?limit=3&after="+after, "")
		for _, note := range decode[[]ems.RegisterWrite](t, reply) {
			notes = append(notes, fmt.Sprintf("%d@%d=%v %s %s", note.Function, note.Address, note.Values, note.Origin, note.State))
			if age := time.Since(note.Time); age < 0 || age > time.Minute {
				t.Errorf("%+v is %v old", note, age)
			}
		}
		if after = reply.Next; after == "" {
			break
		}
	}
	if len(notes) != 16 || notes[0] != "5@60=[1] api:Bob unknown" || notes[15] != "5@50=[1] api:Ann executing" || notes[14] != "5@50=[1] api:Ann done" {
		t.Errorf("%q", notes)
	}
	for _, after := range []string{"x", "-", "1-2-3"} {
		if status, reply := p.call(http.MethodGet, "/api/channels/1/registers/writes?after="+after, ""); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", after, status, reply.Data)
		}
	}
	if err := p.DB.RemoveChannel(t.Context(), 1); err != nil || len(p.Raw.Keys(t.Context(), "comsrv:1:registers").Val()) > 0 {
		t.Errorf("what was noted of a removed channel stays: %v", err)
	}
}

// TestARegisterWriteGoesBetweenTwoReads of a poll, and is not begun after its
// deadline.
func TestARegisterWriteGoesBetweenTwoReads(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address,
		mapped(ems.Telemetry, 1, "a", config.Mapping{Function: 3, Address: 0, DataType: config.Uint16}),
		mapped(ems.Telemetry, 2, "b", config.Mapping{Function: 4, Address: 0, DataType: config.Uint16}))
	entry.Timeout = time.Minute
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	d.hold(3)
	d.awaitHeld()
	const path = "/api/channels/1/registers/write"
	p.Refused(http.MethodPost, path, `{"unit": 1, "function": 6, "address": 1, "values": [1], "deadline_ms": 1}`,
		http.StatusGatewayTimeout, ems.CodeExpired, "the write expired: the channel was busy until the deadline, nothing was sent")
	if got := p.abandoned(path, `{"unit": 1, "function": 6, "address": 1, "values": [2], "deadline_ms": 30000}`); got != "failed whoever asked did not wait for it, nothing was sent" {
		t.Error(got)
	}
	d.set(func() { d.order = nil })
	asked := make(chan string, maxTasks+1)
	for range maxTasks - 1 { // two places are taken by those that were given up
		go func() {
			_, reply, err := p.request(http.MethodPost, path, `{"unit": 1, "function": 16, "address": 1, "values": [7], "deadline_ms": 30000}`)
			asked <- fmt.Sprint(string(reply.Data), reply.Error, err)
		}()
	}
	if full := <-asked; !strings.Contains(full, "CONFLICT the write failed: 8 requests are waiting for channel 1 already, nothing was sent: try again") {
		t.Error(full)
	}
	p.eventually(func() error {
		if waiting := len(p.service.commands.roster.Load().byID[1].tasks); waiting != maxTasks {
			return fmt.Errorf("%d wait", waiting)
		}
		return nil
	}, "all writes")
	d.release()
	for range maxTasks - 2 {
		if ended := <-asked; !strings.Contains(ended, `"state":"done"`) {
			t.Error(ended)
		}
	}
	d.mu.Lock()
	order := slices.Clone(d.order[:maxTasks-1])
	d.mu.Unlock()
	if want := []byte{16, 16, 16, 16, 16, 16, 4}; !slices.Equal(order, want) {
		t.Errorf("%v instead of %v", order, want)
	}
	if written := d.written(); len(written) != maxTasks-2 {
		t.Errorf("%q", written)
	}
}

// abandoned asks for a register write and leaves before it was its turn. It returns
// how the write is said to have ended.
func (p *plant) abandoned(path, body string) (ended string) {
	p.t.Helper()
	ctx, leave := context.WithCancel(p.t.Context())
	defer leave()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.service.Addr()+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		if reply, err := http.DefaultClient.Do(request); err == nil {
			reply.Body.Close()
		}
	}()
	newest := func(want ems.CommandState) func() error {
		return func() error {
			_, reply := p.call(http.MethodGet, path+"s?limit=1", "")
			for _, note := range decode[[]ems.RegisterWrite](p.t, reply) {
				if ended = fmt.Sprint(note.State, " ", note.Reason); note.State == want {
					return nil
				}
			}
			return errors.New(ended)
		}
	}
	p.eventually(newest(ems.CommandExecuting), "a write that waits")
	leave()
	<-left
	p.eventually(newest(ems.CommandFailed), "the end of a write that nobody waits for")
	return ended
}

// TestRegistersThatAreRefused: of channels that have none, that are disabled, or
// that forbid it, and without a Redis to note a write.
func TestRegistersThatAreRefused(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	disabled, line := field(2, "192.0.2.1:502"), field(4, "127.0.0.1:1")
	disabled.Enabled, line.Protocol = false, config.ProtocolModbusRTUOverTCP
	forbidding := field(3, d.address)
	forbidding.Modbus.Reads = config.Reads{}.OrDefault()
	forbidding.Modbus.Reads.Forbidden = []config.ForbiddenRange{{Unit: -1, Function: 3, First: 10, Last: 19}}
	p := newPlant(t, config.Channel{ID: 1, Name: "site", Protocol: "virtual", Enabled: true, PollPeriod: time.Second, Timeout: time.Second}, disabled, forbidding, line,
		field(6, strings.Replace(d.address, "127.0.0.1", "[::1]", 1)))
	p.start()
	const read, write = `{"unit": 0, "function": 3, "address": 9, "count": 2}`, `{"unit": 1, "function": 6, "address": 9, "values": [2]}`
	for _, test := range [][3]string{
		{"1/registers/read", read, "409 channel 1 has protocol virtual, which has no registers"},
		{"1/registers/write", write, "409 channel 1 has protocol virtual, which has no registers"},
		{"2/registers/read", read, "409 channel 2 is not run: the channel is disabled; enable it where it is written"},
		{"2/registers/write", write, "409 channel 2 is not run: the channel is disabled; enable it where it is written"},
		{"3/registers/read", read, "409 channel 3 forbids to read from there: leave its ranges (modbus.forbidden) out"},
		{"6/registers/read", read, "409 channel 3 forbids to read from there: leave its ranges (modbus.forbidden) out"},
		{"4/registers/read", read, "400 unit 0 is every unit of the line, and none of them answers: name one"},
		{"5/registers/read", read, "404 there is no channel 5"},
		{"5/registers/write", write, "404 there is no channel 5"},
		{"3/registers/write", write, "200 "},
	} {
		status, reply := p.call(http.MethodPost, "/api/channels/"+test[0], test[1])
		if got := fmt.Sprintf("%d %s", status, reply.Error.Message); got != test[2] {
			t.Errorf("%s: %s", test[0], got)
		}
	}
	p.Redis.Stop()
	status, reply := p.call(http.MethodPost, "/api/channels/3/registers/write", write)
	if written := d.written(); status != http.StatusServiceUnavailable || len(written) != 1 {
		t.Errorf("%d %+v, and %q was written", status, reply.Error, written)
	}
}

// TestARegisterWriteThatIsUnderWayAtItsDeadline ends as it ends.
func TestARegisterWriteThatIsUnderWayAtItsDeadline(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address)
	entry.Timeout = time.Minute
	p := newPlant(t, entry)
	p.start()
	d.hold(6)
	asked, deadline := make(chan string, 1), time.Now().Add(1500*time.Millisecond)
	go func() {
		_, reply, err := p.request(http.MethodPost, "/api/channels/1/registers/write", `{"unit": 1, "function": 6, "address": 1, "values": [1], "deadline_ms": 1500}`)
		asked <- fmt.Sprint(string(reply.Data), err)
	}()
	d.awaitHeld()
	passed(deadline.Add(100 * time.Millisecond))
	d.release()
	if ended := <-asked; !strings.Contains(ended, `"state":"done"`) {
		t.Error(ended)
	}
}
