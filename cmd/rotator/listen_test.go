package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestSocketModes(t *testing.T) {
	t.Parallel()
	for group, want := range map[string]os.FileMode{"": 0o600, strconv.Itoa(os.Getgid()): 0o660} {
		path := filepath.Join(t.TempDir(), "sub", "s")
		l, err := listenSocket(path, group)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("group %q: mode %v, %v, want %v", group, info.Mode(), err, want)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSocketInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	first, err := listenSocket(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path, ""); err == nil || !strings.Contains(err.Error(), "a daemon answers") {
		t.Errorf("a second daemon: %v", err)
	}
	// A daemon that was killed leaves its file behind.
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	next, err := listenSocket(path, "")
	if err != nil {
		t.Fatalf("over a dead daemon's socket: %v", err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path, ""); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file in its place: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Error("the file was touched")
	}
	if _, err := listenSocket(path+"2", "no-such-group-here"); err == nil {
		t.Error("an unknown group was taken")
	} else if code, _ := advise(err); code != exitUsage {
		t.Errorf("exit %d", code)
	}
}

func TestSandboxStaysOnLoopback(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "example.com:0", "[::]:0", "127.0.0.1"} {
		if l, err := listenLoopback(address); err == nil {
			t.Errorf("%s was opened", address)
			_ = l.Close()
		}
	}
}
