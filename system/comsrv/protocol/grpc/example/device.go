package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// device is a folder of files with numbers in them. A name cannot lead out of it.
type device struct{ root *os.Root }

// maxNumber bounds what is read of a file, in bytes.
const maxNumber = 100

func openDevice(folder string) (*device, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return &device{root: root}, nil
}

func (d *device) close() { _ = d.root.Close() } // it was only read from

func (d *device) read(name string) (float64, error) {
	file, err := d.root.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxNumber+1))
	if err != nil {
		return 0, err
	}
	if len(text) > maxNumber {
		return 0, fmt.Errorf("%s is longer than a number", name)
	}
	number, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil {
		return 0, fmt.Errorf("%s holds %q, which is not a number", name, text)
	}
	return number, nil
}

// write writes a number to a file that is there. Where it fails, begun tells
// whether something may have been written.
func (d *device) write(name string, number float64) (begun bool, err error) {
	file, err := d.root.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return false, err
	}
	if _, err := file.WriteString(strconv.FormatFloat(number, 'f', -1, 64) + "\n"); err != nil {
		_ = file.Close() // the write has failed already
		return true, err
	}
	return true, file.Close()
}
