package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rotator/internal/trust"
	"rotator/policies"
)

// A file that a group may write is refused: the tests' own are not, whatever the umask.
func init() { syscall.Umask(0o022) }

// owned is this machine, where one path belongs to another user.
type owned struct {
	trust.System
	path string
	mode fs.FileMode
}

func (o owned) Lstat(path string) (trust.Facts, error) {
	if path == o.path {
		return trust.Facts{Mode: o.mode, UID: 54321}, nil
	}
	return o.System.Lstat(path)
}

// TestWhoseConfiguration: a configuration that others may write is not read, and neither is one that names a program of
// theirs. Commands then find no socket in it either.
func TestWhoseConfiguration(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		chmod map[string]fs.FileMode // below the folder
		other string                 // the path that is another's
		want  []string
	}{
		"nobody else":               {},
		"a file of everyone's":      {chmod: map[string]fs.FileMode{"etc/rotator.yaml": 0o666}, want: []string{"the configuration is not read: ", "etc/rotator.yaml may be written by the group ", "chmod go-w "}},
		"a file of a group":         {chmod: map[string]fs.FileMode{"etc/rotator.yaml": 0o660}, want: []string{"may be written by the group "}},
		"a file of another":         {other: "etc/rotator.yaml", want: []string{"etc/rotator.yaml belongs to uid 54321", "chown "}},
		"a folder of everyone's":    {chmod: map[string]fs.FileMode{"etc": 0o777}, want: []string{"etc may be written by"}},
		"a folder of another":       {other: "etc", want: []string{"etc belongs to uid 54321"}},
		"a folder above":            {chmod: map[string]fs.FileMode{".": 0o777}, want: []string{"may be written by"}},
		"a folder like /tmp":        {chmod: map[string]fs.FileMode{"etc": fs.ModeSticky | 0o777}},
		"a program of everyone's":   {chmod: map[string]fs.FileMode{"bin/token": 0o777}, want: []string{"state names a program that others may change: ", "bin/token may be written by", "chmod go-w "}},
		"a program of another":      {other: "bin/token", want: []string{"bin/token belongs to uid 54321"}},
		"a program's folder":        {chmod: map[string]fs.FileMode{"bin": 0o775}, want: []string{"bin may be written by the group "}},
		"a program that is not yet": {chmod: map[string]fs.FileMode{"bin/token": 0}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file, program := filepath.Join(dir, "etc/rotator.yaml"), filepath.Join(dir, "bin/token")
			text := "state: \"postgres://u@h/d?sslmode=verify-full&password=command:" + program + "\"\nsocket: s\nteams: {t: {}}\nstores: {s: {type: aws}}\n"
			err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.Mkdir(filepath.Dir(program), 0o755), os.WriteFile(file, []byte(text), 0o600),
				os.WriteFile(program, []byte("#!/bin/sh\necho token\n"), 0o600), os.Chmod(program, 0o755), os.Chmod(dir, 0o755))
			if err != nil {
				t.Fatal(err)
			}
			for name, mode := range c.chmod {
				path := filepath.Join(dir, name)
				if err := os.Chmod(path, mode); mode != 0 && err != nil {
					t.Fatal(err)
				}
				if mode == 0 {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			e := env(nil)
			if c.other != "" {
				mode := fs.FileMode(0o755)
				if !strings.Contains(c.other, "/") {
					mode |= fs.ModeDir
				}
				e.Guard = trust.Guard{System: owned{trust.Machine(), filepath.Join(dir, c.other), mode}}
			}
			_, err = Load(file, e)
			if len(c.want) == 0 && err != nil || len(c.want) > 0 && !errors.As(err, new(policies.Problems)) {
				t.Errorf("the error is %v", err)
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %v, want %q", err, want)
				}
			}
			if _, ok := SocketOf(file, e); ok != (len(c.want) == 0 || strings.Contains(err.Error(), "a program")) {
				t.Errorf("a socket is found: %t", ok)
			}
		})
	}
}

// TestProgramsAreToldLittle: a program gets neither the management key nor anything else of the daemon's environment that
// the configuration does not name. It is looked at again each time that it is run.
func TestProgramsAreToldLittle(t *testing.T) {
	t.Parallel()
	line := program(t, "env | LC_ALL=C sort | grep -v '^\\(_\\|PWD\\|SHLVL\\|OLDPWD\\)=' | tr '\\n' ' '")
	e := env(map[string]string{"XAI_MANAGEMENT_KEY": "hunter2", "AWS_SECRET_ACCESS_KEY": "hunter2", "LD_PRELOAD": "/tmp/x.so",
		"PATH": os.Getenv("PATH"), "HOME": "/home/ada", "LANG": "C"})
	command, ok := parseCommand("command:AWS_REGION=eu-west-1 HOME=/nowhere "+line, e)
	if !ok {
		t.Fatal("it is not a command")
	}
	answer, err := command.Read(t.Context())
	if want := "AWS_REGION=eu-west-1 HOME=/nowhere LANG=C PATH=" + os.Getenv("PATH"); err != nil || answer.Reveal() != want {
		t.Errorf("the program is told %q, %v, want %q", answer.Reveal(), err, want)
	}
	where, _ := parseCommand("command:"+program(t, "pwd"), e)
	if answer, err := where.Read(t.Context()); err != nil || answer.Reveal() != "/" {
		t.Errorf("it is run in %s, %v", answer.Reveal(), err)
	}
	for _, text := range []string{"command:A=b", "command:A=b true", "command:=b /bin/true", "command:a-b=c /bin/true"} {
		if _, ok := parseCommand(text, e); ok {
			t.Errorf("%q is a command", text)
		}
	}
	s, err := ParseState("state", "postgres://u@h/d?sslmode=verify-full&password=command:A=b%20"+strings.ReplaceAll(line, " ", "%20"), e)
	if err != nil || s.command == nil || len(s.command.set) != 1 {
		t.Errorf("as a journal's password: %v", err)
	}
}
