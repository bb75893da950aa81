// Package e2e proves the product as a whole, with real parts: the built binary and the engine, Vault's own server core,
// Secrets Manager's rules, files, a SQLite journal on disk, and a simulated xAI behind real sockets, while consumers
// read their keys as consumers do and use them without pause. It has no code of its own.
//
// parts_test.go sets up what is around the rotator, consumers_test.go those who use the keys, process_test.go the
// binary. Each other file shows one promise, or measures one (bench_*.go).
package e2e

import (
	"os"
	"syscall"
	"testing"
)

// TestMain lets the test binary also be the process that a benchmark compares with, and programs that a page calls.
func TestMain(m *testing.M) {
	syscall.Umask(0o022) // a configuration that a group may write is refused
	if address := os.Getenv(stubAddress); address != "" {
		os.Exit(runStub(address))
	}
	if os.Getenv(bareRole) != "" {
		os.Exit(runBare())
	}
	code := m.Run()
	removeBinary()
	os.Exit(code)
}
