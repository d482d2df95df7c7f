package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// device is a folder of files with numbers in them, each alone or followed by why it
// is in doubt. A name cannot lead out of the folder.
type device struct{ root *os.Root }

// maxText bounds what is read of a file, in bytes.
const maxText = 100

func openDevice(folder string) (*device, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return &device{root: root}, nil
}

func (d *device) close() { _ = d.root.Close() } // it was only read from

// read returns the number in a file, and the doubt beside it, empty where there is
// none: "21.5 warming up".
func (d *device) read(name string) (number float64, doubt string, err error) {
	file, err := d.root.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxText+1))
	if err != nil {
		return 0, "", err
	}
	if len(text) > maxText {
		return 0, "", fmt.Errorf("%s is longer than a number and a doubt", name)
	}
	first, doubt, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if number, err = strconv.ParseFloat(first, 64); err != nil {
		return 0, "", fmt.Errorf("%s holds %q, which is not a number", name, text)
	}
	return number, strings.TrimSpace(doubt), nil
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
