package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/secret"
)

// program is the command line of a script.
func program(t *testing.T, script string) (line string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return "/bin/sh " + path
}

func TestPasswordByCommand(t *testing.T) {
	t.Parallel()
	counter := filepath.Join(t.TempDir(), "runs")
	line := program(t, `echo run >> "$1"; printf '\n tok&en/%s of %s \n\n' "$(wc -l < "$1")" "$2"`)
	s, err := ParseState("state", "postgres://u@h/d?sslmode=verify-full&password=command:"+strings.ReplaceAll(line, " ", "%20")+"%20"+counter+"+db", env(nil))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.command.now = func() time.Time { return now }
	address := func() string {
		t.Helper()
		a, err := s.Address(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return a.Reveal()
	}
	const first = "postgres://u@h/d?sslmode=verify-full&password=tok%26en%2F1%20of%20db"
	// A pool that starts asks many times at once.
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if a := address(); a != first {
				t.Errorf("the address is %s", a)
			}
		})
	}
	wg.Wait()
	now = now.Add(commandFresh - time.Second)
	if a := address(); a != first {
		t.Errorf("within a minute the address is %s", a)
	}
	now = now.Add(time.Second)
	if a := address(); !strings.Contains(a, "tok%26en%2F2") {
		t.Errorf("after a minute the address is %s", a)
	}
	if strings.Contains(s.String(), "tok") {
		t.Errorf("the state is printed as %s", s)
	}
}

// TestRefusedPassword: what the server did not take is asked for again, and not more often than every few seconds.
func TestRefusedPassword(t *testing.T) {
	t.Parallel()
	counter := filepath.Join(t.TempDir(), "runs")
	line := program(t, `echo run >> "$1"; wc -l < "$1"`)
	s, err := ParseState("state", "postgres://u@h/d?password=command:"+strings.ReplaceAll(line, " ", "%20")+"%20"+counter, env(nil))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.command.now = func() time.Time { return now }
	first := secret.New("postgres://u@h/d?password=1")
	for _, step := range []struct {
		wait    time.Duration
		refused secret.Text
		want    string
	}{
		{0, secret.Text{}, "1"},
		{time.Second, first, "1"}, // a server that takes nothing keeps nothing busy
		{commandAgain - time.Second, secret.Text{}, "2"},
		{commandAgain, first, "2"}, // of a login that took long: this answer is another one
		{0, secret.New("postgres://u@h/d?password=2"), "3"},
		{commandFresh - time.Second, secret.Text{}, "3"},
	} {
		now = now.Add(step.wait)
		if !step.refused.Empty() {
			s.Refused(step.refused)
		}
		if a, err := s.Address(t.Context()); err != nil || a.Reveal() != "postgres://u@h/d?password="+step.want {
			t.Fatalf("the address is %s, %v, want password %s", a.Reveal(), err, step.want)
		}
	}
}

func TestCommandThatFails(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2"
	open := filepath.Join(t.TempDir(), "program")
	if err := errors.Join(os.WriteFile(open, nil, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ line, want string }{
		"fails":         {program(t, "echo "+hidden+"; echo "+hidden+" >&2; exit 3"), "exit status 3"},
		"says nothing":  {program(t, "echo "), "printed nothing"},
		"says two":      {program(t, "echo "+hidden+"; echo "+hidden), "it has a line break at byte"},
		"says much":     {program(t, "while :; do echo "+hidden+"; done"), "more than 64 KiB"},
		"is not there":  {"/nowhere/program", "no such file"},
		"is everyone's": {open, "may be written by"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			command, ok := parseCommand("command:"+c.line+" "+hidden, Env{})
			if !ok {
				t.Fatal("it is not a command")
			}
			_, err := command.Read(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), hidden) {
				t.Errorf("the error is %v, want %q", err, c.want)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		command, _ := parseCommand("command:"+program(t, "sleep 600 & wait"), Env{})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := command.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestNoCommand(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"command:", "command: ", "command:program", "command:./program x", "/bin/true", "file:/bin/true"} {
		if _, ok := parseCommand(text, Env{}); ok {
			t.Errorf("%q is a command", text)
		}
	}
	for _, state := range []string{"command:/bin/true", "postgres://u@h/d?password=command:true"} {
		if _, err := ParseState("state", state, env(nil)); err == nil {
			t.Errorf("%q is a state", state)
		}
	}
}

// TestCommandOfAScript: a script whose interpreter others may write is not run, whether its first line names it or env finds it.
// A script runs in the root folder, and not where the process was started. It is not parallel: a program that a fork of another
// test still has open for writing cannot be run.
func TestCommandOfAScript(t *testing.T) {
	dir := t.TempDir()
	interpreter, script := filepath.Join(dir, "python"), filepath.Join(dir, "script")
	if err := errors.Join(os.WriteFile(interpreter, []byte("#!/bin/sh\npwd\n"), 0o600), os.Chmod(interpreter, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"#!" + interpreter, "#! " + interpreter + " -u", "#!/usr/bin/env python", "#!/usr/bin/env -S A=b python -u"} {
		command, ok := parseCommand("command:"+script, env(map[string]string{"PATH": dir + ":/usr/bin:/bin"}))
		if err := errors.Join(os.WriteFile(script, []byte(line+"\n"), 0o600), os.Chmod(script, 0o755), os.Chmod(interpreter, 0o755)); err != nil || !ok {
			t.Fatal(err, ok)
		}
		if text, err := command.Read(t.Context()); err != nil || text.Reveal() != "/" {
			t.Errorf("%s: %q, %v", line, text.Reveal(), err)
		}
		command.until = time.Time{}
		if err := os.Chmod(interpreter, 0o757); err != nil {
			t.Fatal(err)
		}
		if _, err := command.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "its interpreter: "+interpreter+" may be written by everyone") {
			t.Errorf("%s: the error is %v", line, err)
		}
	}
}
