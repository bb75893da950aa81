package main

import (
	"testing"
)

func TestSandboxStaysOnLoopback(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "example.com:0", "[::]:0", "127.0.0.1"} {
		if l, err := listenLoopback(address); err == nil {
			t.Errorf("%s was opened", address)
			_ = l.Close()
		}
	}
}
