package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStateByReference: an address of a database names its password, or is named itself, and is read each time.
func TestStateByReference(t *testing.T) {
	t.Parallel()
	const password = "p&ss w/rd?"
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ state, first, then string }{
		{`"postgres://u@h:5432/d?sslmode=verify-full&password=file:pw&sslrootcert=/ca.pem"`,
			"postgres://u@h:5432/d?sslmode=verify-full&password=p%26ss%20w%2Frd%3F&sslrootcert=/ca.pem",
			"postgres://u@h:5432/d?sslmode=verify-full&password=second&sslrootcert=/ca.pem"},
		{`"env:STATE"`, "postgres://u:p@h/d", "postgres://u:p@h/d"},
		{`"file:pw"`, password, "second"},
		{`"postgres://u@h/d?sslcert=/c.pem&sslkey=/k.pem"`, "postgres://u@h/d?sslcert=/c.pem&sslkey=/k.pem", "postgres://u@h/d?sslcert=/c.pem&sslkey=/k.pem"},
	} {
		text := "state: " + c.state + "\nteams: {t: {id: a}}\nstores: {s: {type: file, dir: /s, shared: true}}"
		conf, err := Parse(filepath.Join(dir, "rotator.yaml"), []byte(text), env(map[string]string{"STATE": "postgres://u:p@h/d"}))
		if err != nil {
			t.Fatal(err)
		}
		if conf.State.SQLite() || `"`+conf.State.String()+`"` != c.state && !strings.HasPrefix(c.state, `"file:`) {
			t.Errorf("%s is shown as %s", c.state, conf.State)
		}
		for i, want := range []string{c.first, c.then} {
			write("pw", []string{password + "\n", "second"}[i])
			got, err := conf.State.Address(t.Context())
			if err != nil || got.Reveal() != want {
				t.Errorf("%s: %q, %v, want %q", c.state, got.Reveal(), err, want)
			}
		}
	}
	conf, err := Parse(filepath.Join(dir, "x"), []byte("state: postgres://u@h/d?password=file:none\nteams: {t: {}}\nstores: {s: {type: file, dir: /s, shared: true}}"), env(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conf.State.Address(t.Context()); err == nil || !strings.Contains(err.Error(), "file:") {
		t.Errorf("a password that is not there: %v", err)
	}
}

// TestParametersOfTheAddress: a parameter that cannot be honored, or is not known, is refused when the file is read, by name.
func TestParametersOfTheAddress(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]string{
		"sslmode=verify-full&keepalives_idle=60&gssencmode=prefer&pool_max_conns=4": "",
		"sslmode=verify-full&sslcrl=/crl.pem":                                       "rotator.yaml:1: in state, the parameter sslcrl is refused",
		"sslmode=prefer":                                                            "in state, the parameter sslmode is refused: prefer and allow fall back to a connection in clear",
		"sslmod=verify-full":                                                        "the parameter sslmod is refused: unknown parameter (did you mean sslmode?)",
		"gssencmode=require":                                                        "the parameter gssencmode is refused",
	} {
		text := "state: postgres://u@h/d?" + params + "\nteams: {t: {id: a}}\nstores: {s: {type: file, dir: /s, shared: true}}"
		_, err := Parse("rotator.yaml", []byte(text), env(nil))
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", params, err)
		}
	}
}
