package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"rotator/internal/secret"
	"rotator/internal/trust"
)

const (
	commandLimit = 10 * time.Second // how long a program may take
	commandFresh = time.Minute      // for how long its answer is used again: a pool makes many connections at once
	commandAgain = 5 * time.Second  // and one that was refused
)

// Command is a program that prints a password which does not last, such as a token of a cloud's identity service. It is
// run without a shell, in the root folder. Its environment is PATH, HOME and LANG, and what is before the program as NAME=VALUE: the daemon's
// own may hold a management key. A program that others than root and this process's user may write is not run, and neither is
// a script whose interpreter they may write. It is no secret itself and may be printed.
type Command struct {
	args []string // the program, and its arguments
	set  []string // NAME=VALUE
	env  Env
	now  func() time.Time

	turn   chan struct{} // one caller's at a time: he runs the program, and those who wait have its answer
	answer secret.Text
	asked  time.Time
	until  time.Time
}

// parseCommand reads command:NAME=VALUE… /path/to/program arg…, whose parts hold no spaces. ok is false for anything else.
func parseCommand(text string, env Env) (c *Command, ok bool) {
	line, found := strings.CutPrefix(text, "command:")
	args := strings.Fields(line)
	set := 0
	for set < len(args) && assignment.MatchString(args[set]) {
		set++
	}
	if !found || len(args) == set || !filepath.IsAbs(args[set]) || strings.ContainsRune(line, 0) {
		return nil, false
	}
	return &Command{args: args[set:], set: args[:set], env: env, now: time.Now, turn: make(chan struct{}, 1)}, true
}

// assignment is how a variable is given to a program.
var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// environment is all that the program is told: nothing of the daemon's but what every program needs.
func (c *Command) environment() []string {
	var all []string
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if v, ok := c.env.lookup(name); ok {
			all = append(all, name+"="+v)
		}
	}
	return append(all, c.set...) // of a name given twice, the last counts
}

// Read returns what the program prints, a line of text, see [secret.FromLine]: an answer of the last minute, or a new one. Its
// error names the program and never what it printed.
func (c *Command) Read(ctx context.Context) (secret.Text, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return secret.Text{}, ctx.Err()
	}
	if c.now().Before(c.until) {
		return c.answer, nil
	}
	asked := c.now()
	answer, err := c.run(ctx)
	if err != nil {
		return secret.Text{}, fmt.Errorf("read secret command:%s: %w", c.args[0], err)
	}
	c.answer, c.asked, c.until = answer, asked, asked.Add(commandFresh)
	return c.answer, nil
}

// refused says that an answer opened nothing. If it is the last one, it is not used much longer.
func (c *Command) refused(was func(answer secret.Text) bool) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	default: // a new one is on its way
		return
	}
	if was(c.answer) {
		c.until = c.asked.Add(commandAgain)
	}
}

// check refuses a program that others may change: a [trust.Error]. Of a script, its interpreter is one too.
func (c *Command) check() error {
	at, err := c.env.Guard.Resolve(c.args[0])
	if err != nil {
		return err
	}
	for _, interpreter := range c.interpreters(at) {
		if err := c.env.Guard.Check(interpreter); errors.As(err, new(*trust.Error)) { // others show when it is run
			return fmt.Errorf("its interpreter: %w", err)
		}
	}
	return nil
}

// interpreters are the programs that a script's first line names: an interpreter, and the one that env looks for in PATH.
func (c *Command) interpreters(script string) []string {
	f, err := os.OpenFile(script, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil // a program that may be run and not read is no script
	}
	defer func() { _ = f.Close() }()                // only read
	text, err := io.ReadAll(io.LimitReader(f, 256)) // the system reads no more: execve(2)
	line, _, _ := strings.Cut(string(text), "\n")
	line, isScript := strings.CutPrefix(line, "#!")
	words := strings.Fields(line)
	if err != nil || !isScript || len(words) == 0 {
		return nil
	}
	found := words[:1:1]
	words = slices.DeleteFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, "-") || strings.Contains(w, "=") })
	if filepath.Base(found[0]) != "env" || len(words) == 0 {
		return found
	}
	var path string
	for _, set := range c.environment() {
		if value, ok := strings.CutPrefix(set, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		at := filepath.Join("/", dir, words[0])
		if info, err := os.Stat(at); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return append(found, at)
		}
	}
	return found
}

func (c *Command) run(ctx context.Context) (secret.Text, error) {
	if err := c.check(); err != nil {
		return secret.Text{}, pathless(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("it took longer than %v", commandLimit))
	defer cancel()
	out := limited{left: maxSecret}
	run := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	run.Stdout, run.Env, run.Dir = &out, c.environment(), "/" // it finds nothing in a working directory of anyone's
	run.WaitDelay = time.Second                               // its children may outlive it with its output open
	switch err := run.Run(); {
	case ctx.Err() != nil:
		return secret.Text{}, context.Cause(ctx)
	case out.left < 0: // the program may have died of it
		return secret.Text{}, errTooLong
	case err != nil:
		return secret.Text{}, pathless(err)
	}
	if strings.TrimSpace(out.text.String()) == "" {
		return secret.Text{}, errors.New("it printed nothing")
	}
	answer, err := secret.FromLine(out.text.String())
	if err != nil {
		return secret.Text{}, fmt.Errorf("what it printed is no credential: %w", err)
	}
	return answer, nil
}

var errTooLong = errors.New("it printed more than 64 KiB")

// limited takes so many bytes more.
type limited struct {
	text bytes.Buffer
	left int
}

// Write implements io.Writer.
func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, errTooLong
	}
	return l.text.Write(b)
}
