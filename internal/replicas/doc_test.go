// Package replicas proves what holds when several replicas share one PostgreSQL: processes of the built binary, a real
// server, a simulated xAI behind sockets, and a nemesis that kills, freezes and cuts off whoever holds a rotation while
// consumers read and use their keys without pause. It has no code of its own.
//
// cluster_test.go sets up replicas and what they share, proxy_test.go the lines between, consumers_test.go those who use
// the keys, history_test.go the check of what the journal says happened. Each other file shows one promise.
package replicas

import (
	"os"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // a configuration that a group may write is refused
	code := m.Run()
	if path, err := folder(); err == nil {
		_ = os.RemoveAll(path)
	}
	os.Exit(code)
}
