package testbed

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/testkit"
)

// foreign is a Modbus client that nobody here wrote. It answers as goburrow's does:
// registers most significant byte first, eight bits to a byte.
type foreign interface {
	// registers and bits read count values of a table.
	values(table string, address, count uint16) ([]uint16, error)
	// write writes values to a table.
	write(table string, address uint16, values ...uint16) error
}

// reading makes of a foreign client what read takes.
type reading struct{ foreign }

func (r reading) bytes(table string, address, count uint16) ([]byte, error) {
	values, err := r.values(table, address, count)
	if err == nil && len(values) != int(count) {
		err = fmt.Errorf("%d values, not %d", len(values), count)
	}
	if err != nil {
		return nil, err
	}
	var data []byte
	for i, value := range values {
		switch {
		case table == "holding" || table == "input":
			data = binary.BigEndian.AppendUint16(data, value)
		case i%8 == 0:
			data = append(data, byte(value))
		default:
			data[i/8] |= byte(value << (i % 8))
		}
	}
	return data, nil
}

func (r reading) ReadCoils(address, count uint16) ([]byte, error) {
	return r.bytes("coil", address, count)
}

func (r reading) ReadDiscreteInputs(address, count uint16) ([]byte, error) {
	return r.bytes("discrete", address, count)
}

func (r reading) ReadHoldingRegisters(address, count uint16) ([]byte, error) {
	return r.bytes("holding", address, count)
}

func (r reading) ReadInputRegisters(address, count uint16) ([]byte, error) {
	return r.bytes("input", address, count)
}

// mbpoll runs mbpoll, which is made with libmodbus, for each request.
type mbpoll struct {
	t       *testing.T
	program string
	options []string // of the transport
	target  string   // host or device
	unit    int
}

// mbpollTCP returns a client of host:port.
func mbpollTCP(t *testing.T, address string, unit int) mbpoll {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return mbpoll{t, testkit.Mbpoll(t), []string{"-m", "tcp", "-p", port}, host, unit}
}

// mbpollRTU returns a client of a serial line.
func mbpollRTU(t *testing.T, path string, unit int) mbpoll {
	t.Helper()
	return mbpoll{t, testkit.Mbpoll(t), []string{"-m", "rtu", "-b", "19200", "-P", "none"}, path, unit}
}

var mbpollValue = regexp.MustCompile(`(?m)^\[(\d+)\]: \t(0x[0-9A-F]+|\d+)`)

// run asks for a table of the kind that mbpoll calls so.
func (m mbpoll) run(kind string, address uint16, arguments ...string) (string, error) {
	all := slices.Concat(m.options, []string{"-a", strconv.Itoa(m.unit), "-t", kind, "-0", "-r", strconv.Itoa(int(address)), "-o", "10", m.target}, arguments)
	text, err := exec.CommandContext(m.t.Context(), m.program, all...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("mbpoll %v: %w: %s", all, err, text)
	}
	return string(text), err
}

func (m mbpoll) values(table string, address, count uint16) ([]uint16, error) {
	kind := map[string]string{"coil": "0", "discrete": "1", "input": "3:hex", "holding": "4:hex"}[table]
	text, err := m.run(kind, address, "-1", "-c", strconv.Itoa(int(count)))
	if err != nil {
		return nil, err
	}
	var values []uint16
	for i, match := range mbpollValue.FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseUint(match[2], 0, 16)
		if err != nil || match[1] != strconv.Itoa(int(address)+i) {
			return nil, fmt.Errorf("%s: %w", match[0], err)
		}
		values = append(values, uint16(value))
	}
	return values, nil
}

func (m mbpoll) write(table string, address uint16, values ...uint16) error {
	var arguments []string
	for _, value := range values {
		arguments = append(arguments, strconv.Itoa(int(value)))
	}
	text, err := m.run(map[string]string{"coil": "0", "holding": "4"}[table], address, arguments...)
	if err == nil && !strings.Contains(text, fmt.Sprintf("Written %d reference", len(values))) {
		err = fmt.Errorf("nothing written: %s", text)
	}
	return err
}

// pymodbus is testdata/pymodbus_client.py, which keeps its connection.
type pymodbus struct {
	requests io.Writer
	answers  *bufio.Scanner
}

// pymodbusTCP returns a client of host:port.
func pymodbusTCP(t *testing.T, address string, unit int) pymodbus {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return startPymodbus(t, unit, "tcp", host, port)
}

// startPymodbus returns a client of what the arguments name, from the transport on.
func startPymodbus(t *testing.T, unit int, transport ...string) pymodbus {
	t.Helper()
	command := exec.Command(testkit.Pymodbus(t), append([]string{"testdata/pymodbus_client.py", strconv.Itoa(unit)}, transport...)...)
	requests, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = requests.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("pymodbus: %v", err)
		}
	})
	return pymodbus{requests: requests, answers: bufio.NewScanner(answers)}
}

func (p pymodbus) ask(request string) (string, error) {
	if _, err := io.WriteString(p.requests, request+"\n"); err != nil {
		return "", err
	}
	if !p.answers.Scan() {
		return "", fmt.Errorf("pymodbus ended: %w", p.answers.Err())
	}
	text := p.answers.Text()
	if strings.HasPrefix(text, "exception ") || strings.HasPrefix(text, "error ") {
		return "", fmt.Errorf("%s: %s", request, text)
	}
	return text, nil
}

func (p pymodbus) values(table string, address, count uint16) ([]uint16, error) {
	text, err := p.ask(fmt.Sprintf("%s %d %d", table, address, count))
	if err != nil {
		return nil, err
	}
	var values []uint16
	for _, word := range strings.Fields(text) {
		value, err := strconv.ParseUint(word, 10, 16)
		if err != nil {
			return nil, err
		}
		values = append(values, uint16(value))
	}
	return values, nil
}

func (p pymodbus) write(table string, address uint16, values ...uint16) error {
	words := strings.Trim(fmt.Sprint(values), "[]")
	_, err := p.ask(fmt.Sprintf("%s %d = %s", table, address, words))
	return err
}

// Clients that nobody here wrote read the truth at every point of the microgrid,
// write setpoints that read back and take effect, and are refused what there is not.
func TestForeignClientsReadAndWriteThePlant(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(t *testing.T, address string, unit int) foreign{
		"mbpoll":   func(t *testing.T, address string, unit int) foreign { return mbpollTCP(t, address, unit) },
		"pymodbus": func(t *testing.T, address string, unit int) foreign { return pymodbusTCP(t, address, unit) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bed, clock := start(t)
			tick(t, bed, clock, 90)
			points := 0
			for _, channel := range readChannels(t) {
				one := deviceOf(t, channel)
				profile := readProfileRows(t, one.Profile)
				client := connect(t, bed.Address(one.ID), one.Unit)
				for key, row := range readRows(t, channel) {
					expectTruth(t, bed, one.ID, key, row, profile, reading{client})
					points++
				}
			}
			if points != 80 {
				t.Errorf("%d points", points)
			}
			battery := connect(t, bed.Address("battery"), 1)
			for _, err := range []error{battery.write("coil", 0, 1), battery.write("holding", 102, 205, 805)} {
				if err != nil {
					t.Error(err)
				}
			}
			limits, err := battery.values("holding", 102, 2)
			if err != nil || fmt.Sprint(limits) != "[205 805]" {
				t.Errorf("read back %v, %v", limits, err)
			}
			tick(t, bed, clock, 1)
			if got := truthOf(t, bed.Plant(), "battery", profileRow{Setpoint: "state_of_charge_min_pct"}); got != 20.5 {
				t.Errorf("the plant took %v", got)
			}
			if _, err := battery.values("holding", 5000, 1); err == nil || !strings.Contains(err.Error(), "exception 2") && !strings.Contains(err.Error(), "Illegal data address") {
				t.Errorf("an address that there is not: %v", err)
			}
			if err := battery.write("holding", 102, 65535); err == nil || !strings.Contains(err.Error(), "exception 3") && !strings.Contains(err.Error(), "Illegal data value") {
				t.Errorf("a value beyond the limits: %v", err)
			}
		})
	}
}
