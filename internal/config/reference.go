package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"rotator/internal/secret"
)

// The conventional names of a management key in the environment.
const (
	managementKey    = "XAI_MANAGEMENT_KEY"
	managementAPIKey = "XAI_MANAGEMENT_API_KEY"
)

// maxSecret bounds a secret's file: the largest, a JSON Web Token or an age identity, is a few KiB.
const maxSecret = 64 << 10

// Reference says where a secret is: env:NAME in the environment, file:PATH in a file, credential:NAME in the folder
// that systemd names in $CREDENTIALS_DIRECTORY. It is no secret itself and may be printed.
type Reference struct {
	kind, name string
	env        Env
}

// parseReference reads a reference; file paths are taken from dir. ok is false for anything else, a secret included.
func parseReference(text, dir string, env Env) (r Reference, ok bool) {
	kind, name, found := strings.Cut(text, ":")
	if !found || name == "" || strings.ContainsAny(name, "\x00\n") {
		return Reference{}, false
	}
	switch kind {
	case "env":
		ok = !strings.ContainsAny(name, "=: ")
	case "file":
		ok, name = true, absolute(dir, name)
	case "credential":
		ok = !strings.ContainsRune(name, '/') && name != "." && name != ".."
	}
	return Reference{kind: kind, name: name, env: env}, ok
}

// IsZero reports whether there is no reference.
func (r Reference) IsZero() bool { return r.kind == "" }

// String is the reference as it is in the file.
func (r Reference) String() string {
	if r.IsZero() {
		return ""
	}
	return r.kind + ":" + r.name
}

// Read returns the secret as it is now: files are read again each time. It is a line of text, see [secret.FromLine]. Its error
// names the place and never the content. A file that others may write is refused: they could put their own key there.
func (r Reference) Read(ctx context.Context) (secret.Text, error) {
	return r.readAs(ctx, secret.FromLine)
}

// ReadLines is Read for a secret of several lines.
func (r Reference) ReadLines(ctx context.Context) (secret.Text, error) {
	return r.readAs(ctx, secret.FromLines)
}

func (r Reference) readAs(ctx context.Context, form func(string) (secret.Text, error)) (secret.Text, error) {
	if err := ctx.Err(); err != nil {
		return secret.Text{}, err
	}
	v, _, err := r.read(form)
	if err != nil {
		return secret.Text{}, fmt.Errorf("read secret %s: %w", r, err)
	}
	return v, nil
}

// Check reads the secret and says what is questionable about its place, "" when nothing is.
func (r Reference) Check() (warning string, err error) {
	_, warning, err = r.read(secret.FromLine)
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", r, err)
	}
	return warning, nil
}

func (r Reference) read(form func(string) (secret.Text, error)) (v secret.Text, warning string, err error) {
	var text string
	switch r.kind {
	case "env":
		var set bool
		text, set = r.env.lookup(r.name)
		if !set && r.name == managementKey {
			text, set = r.env.lookup(managementAPIKey)
		}
		if !set {
			return v, "", errors.New("the variable is not set")
		}
	case "file":
		text, warning, err = readFile(r.name)
	case "credential":
		dir := r.env.Get("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return v, "", errors.New("CREDENTIALS_DIRECTORY is not set: systemd sets it for units with LoadCredential=")
		}
		text, _, err = readFile(filepath.Join(dir, r.name)) // systemd sees to the modes
	default:
		err = errors.New("no reference")
	}
	if err != nil {
		return v, "", err
	}
	v, err = form(text)
	return v, warning, err
}

func readFile(path string) (text, warning string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for a writer
	if err != nil {
		return "", "", pathless(err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return "", "", pathless(err)
	}
	mode := info.Mode()
	switch {
	case !mode.IsRegular():
		return "", "", errors.New("it is not a file")
	case mode.Perm()&0o022 != 0:
		return "", "", fmt.Errorf("its mode %04o lets others write it; chmod 0600", mode.Perm())
	case mode.Perm()&0o004 != 0:
		warning = fmt.Sprintf("everyone on this machine may read it (mode %04o); chmod 0600", mode.Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", "", pathless(err)
	}
	if len(data) > maxSecret {
		return "", "", errors.New("it is larger than 64 KiB")
	}
	return string(data), warning, nil
}

// pathless is an error of the operating system without the path, which the reference names already.
func pathless(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// State says which journal: an address that holds no secret, or a reference to one that does.
type State struct {
	text     string
	ref      Reference
	password Reference // of text, which names it
	command  *Command  // likewise
}

// Address returns what the journal is opened with, as it is now: references are read again each time, a command is run
// again when its answer is older than a minute, or was refused.
func (s State) Address(ctx context.Context) (secret.Text, error) {
	if !s.ref.IsZero() {
		return s.ref.Read(ctx)
	}
	var password secret.Text
	var err error
	switch {
	case s.command != nil:
		password, err = s.command.Read(ctx)
	case !s.password.IsZero():
		password, err = s.password.Read(ctx)
	default:
		return secret.New(s.text), nil
	}
	if err != nil {
		return secret.Text{}, err
	}
	return s.with(password), nil
}

// Refused says that the database did not take the login with an address: the command that its password came from is run
// again for one of the next.
func (s State) Refused(address secret.Text) {
	if s.command != nil {
		s.command.refused(func(answer secret.Text) bool { return s.with(answer).Equal(address) })
	}
}

// with is the address with a password in the place that is kept for it.
func (s State) with(password secret.Text) secret.Text {
	// All else stays as it was written: the database's own rules of escaping differ from those of url.Values.
	address, query, _ := strings.Cut(s.text, "?")
	params := strings.Split(query, "&")
	for i, p := range params {
		if strings.HasPrefix(p, "password=") {
			params[i] = "password=" + strings.ReplaceAll(url.QueryEscape(password.Reveal()), "+", "%20")
		}
	}
	return secret.New(address + "?" + strings.Join(params, "&"))
}

// String is what is in the file.
func (s State) String() string {
	if s.ref.IsZero() {
		return s.text
	}
	return s.ref.String()
}

// sqlitePath is the path of an SQLite journal, "" of any other.
func (s State) sqlitePath() string {
	path, ok := strings.CutPrefix(s.text, "sqlite:")
	if !ok || path == ":memory:" {
		return ""
	}
	return strings.TrimPrefix(path, "//")
}

// SQLite reports whether one process has the journal, rather than many replicas.
func (s State) SQLite() bool { return strings.HasPrefix(s.text, "sqlite:") }

// Value is a text that is a secret for some and none for others: given as it is, or as a reference.
type Value struct {
	text string
	ref  Reference
}

// IsZero reports whether nothing was given.
func (v Value) IsZero() bool { return v.text == "" && v.ref.IsZero() }

// Read returns the text as it is now.
func (v Value) Read(ctx context.Context) (secret.Text, error) {
	if v.ref.IsZero() {
		return secret.New(v.text), nil
	}
	return v.ref.Read(ctx)
}
