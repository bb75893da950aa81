package porttest

import (
	"net"
	"testing"
)

// TestFree: nothing has the address, and it can be had.
func TestFree(t *testing.T) {
	t.Parallel()
	address := Free(t)
	if c, err := net.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Errorf("someone answers at %s", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
