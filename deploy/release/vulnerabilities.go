package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// govulncheck reports the known vulnerabilities that the program can reach.
const govulncheck = "golang.org/x/vuln/cmd/govulncheck@v1.8.0"

// vulnerable is its exit code when it found some.
const vulnerable = 3

// vulnerabilities refuses to release a program that reaches a known vulnerability. The database is asked over the network;
// a release without it must be asked for.
func (r *release) vulnerabilities(ctx context.Context) error {
	if r.vulndb == "none" {
		fmt.Fprintln(os.Stderr, "release: WITHOUT a look at known vulnerabilities, as you asked")
		return nil
	}
	// Not `go run`, which ends with 1 whatever the tool ended with.
	if err := r.command(ctx, []string{"GOFLAGS=-trimpath", "GOBIN=" + r.stage}, "go", "install", govulncheck); err != nil {
		return err
	}
	err := r.command(ctx, nil, filepath.Join(r.stage, "govulncheck"), "-db", r.vulndb, "./cmd/rotator")
	var ended *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended) && ended.ExitCode() == vulnerable:
		return fmt.Errorf("the program reaches known vulnerabilities: %w", err)
	}
	return fmt.Errorf("known vulnerabilities could not be looked up in %s; VULNDB=file:///FOLDER names a copy of the database, "+
		"VULNDB=none releases without a look: %w", r.vulndb, err)
}
