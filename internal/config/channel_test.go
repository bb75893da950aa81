package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestChannelProgram: whatever the program of a channel does, it is over in time, and nothing it prints or is given is in the error.
func TestChannelProgram(t *testing.T) {
	const hidden = "hunter2"
	for what, c := range map[string]struct{ line, want string }{
		"takes it":              {program(t, "cat >/dev/null"), "<nil>"},
		"does not read":         {program(t, "exit 0"), "<nil>"},
		"prints without end":    {program(t, "cat; i=0; while [ $i -lt 20000 ]; do echo "+hidden+hidden+hidden+"; i=$((i+1)); done"), "<nil>"},
		"leaves a child behind": {program(t, "sleep 3 & exit 0"), "<nil>"},
		"fails":                 {program(t, "echo "+hidden+" >&2; exit 3"), "ended with 3"},
		"dies":                  {program(t, "kill -9 $$"), "was ended by a signal"},
		"is not there":          {"/nowhere/program", "no such file"},
	} {
		t.Run(what, func(t *testing.T) {
			command, ok := parseCommand("command:TOKEN="+hidden+" "+c.line+" "+hidden, Env{})
			if !ok {
				t.Fatal("it is not a command")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			err := command.Run(ctx, []byte(`{"id":1,"summary":"`+strings.Repeat(hidden, 20_000)+`"}`))
			if said := fmt.Sprint(err); !strings.Contains(said, c.want) || strings.Contains(said, hidden) {
				t.Errorf("the error is %v, want %q", err, c.want)
			}
		})
	}
}

// TestChannelProgramThatHangs leaves no process behind.
func TestChannelProgramThatHangs(t *testing.T) {
	at := filepath.Join(t.TempDir(), "pid")
	command, _ := parseCommand("command:"+program(t, "sleep 600 & echo $! >"+at+"; wait"), Env{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := command.Run(ctx, nil); err == nil {
		t.Error("no error")
	}
	text, err := os.ReadFile(at)
	var pid int
	if _, scanned := fmt.Sscan(string(text), &pid); err != nil || scanned != nil {
		t.Fatal(err, scanned)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") { // gone, or only its parent has not noticed
			return
		}
		if time.Now().After(end) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("its child goes on")
		}
	}
}
