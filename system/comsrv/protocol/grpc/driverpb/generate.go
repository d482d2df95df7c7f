// Package driverpb is driver.proto, the contract with drivers in other processes,
// as Go code.
package driverpb

// The line needs nothing but Go: it builds buf, which compiles driver.proto without
// protoc. The two plugins are built as well. It takes some minutes.
//
//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.57.2 generate --template buf.gen.yaml
