package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDeviceIsItsFolder(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	folder := filepath.Join(outside, "device")
	if err := os.Mkdir(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"secret": "42", "device/level": " 21500\n", "device/warming": "-3.5  warming up\n", "device/text": "high", "device/long": strings.Repeat("1", 500), "device/empty": "",
	} {
		if err := os.WriteFile(filepath.Join(outside, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	device, err := openDevice(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer device.close()
	if number, doubt, err := device.read("level"); err != nil || number != 21500 || doubt != "" {
		t.Errorf("level is %v, %q, %v", number, doubt, err)
	}
	if number, doubt, err := device.read("warming"); err != nil || number != -3.5 || doubt != "warming up" {
		t.Errorf("warming is %v, %q, %v", number, doubt, err)
	}
	for _, name := range []string{"../secret", "link", filepath.Join(outside, "secret"), "missing", ".", "", "text", "empty", "long"} {
		if number, _, err := device.read(name); err == nil {
			t.Errorf("%q was read as %v", name, number)
		}
	}
	for _, name := range []string{"../secret", "link", "missing", "."} {
		if begun, err := device.write(name, 1); err == nil || begun {
			t.Errorf("%q was written: begun %v, %v", name, begun, err)
		}
	}
	if begun, err := device.write("level", -0.25); err != nil || !begun {
		t.Errorf("begun %v, %v", begun, err)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "level")); err != nil || string(text) != "-0.25\n" {
		t.Errorf("level holds %q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(text) != "42" {
		t.Errorf("secret holds %q, %v", text, err)
	}
	if _, err := openDevice(filepath.Join(outside, "none")); err == nil {
		t.Error("a folder that is not there was opened")
	}
}
