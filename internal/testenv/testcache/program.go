package testcache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"
)

// Program is a program that is built from a Go module nested in this one, without the race detector.
type Program struct {
	Name    string
	Module  string   // folder of its go.mod, from the project's
	Package string   // to build; empty: the module itself
	Sources []string // files of the module that it is built from
	Values  string   // of variables, for the linker: what the projects' own Makefiles set
}

// buildLimit bounds one build: the longest takes about four minutes on two cores when cold.
const buildLimit = 25 * time.Minute

// Build returns the program's path. It is built at most once for each content of its go.mod, go.sum and sources and each
// Go release. Before a build, which may take minutes, slow is called with what to say.
func (p Program) Build(ctx context.Context, slow func(string)) (string, error) {
	module, err := p.source()
	if err != nil {
		return "", err
	}
	version, err := p.version(module)
	if err != nil {
		return "", err
	}
	return Keep(p.Name+"-"+version, func(path string) error {
		slow("building " + p.Name + ", some minutes when cold")
		return Fetch(ctx, func() error { return p.build(ctx, module, path) })
	})
}

func (p Program) build(ctx context.Context, module, path string) error {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w "+p.Values, "-o", path, cmp.Or(p.Package, "."))
	build.Dir = module
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS=", "GOARCH=")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", p.Name, module, err, out)
	}
	return nil
}

// version names what the program is built from.
func (p Program) version(module string) (string, error) {
	sum := sha256.New()
	_, _ = io.WriteString(sum, runtime.Version()+runtime.GOOS+runtime.GOARCH+p.Package+p.Values)
	for _, name := range append([]string{"go.mod", "go.sum"}, p.Sources...) {
		content, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(sum, "\x00%s\x00%d\x00%s", name, len(content), content)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// source finds the module upwards from the working folder, which for a test is that of its package.
func (p Program) source() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		module := filepath.Join(at, p.Module)
		if _, err := os.Stat(filepath.Join(module, "go.mod")); err == nil {
			return module, nil
		}
		parent := filepath.Dir(at)
		if parent == at {
			return "", errors.New(p.Module + " is not above the working folder")
		}
		at = parent
	}
}

// Main builds programs and ends the process: the main function of the commands that do so before the tests, so that no
// test's time limit has to cover it.
func Main(programs ...Program) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	for _, p := range programs {
		if _, err := p.Build(ctx, func(what string) { fmt.Fprintln(os.Stderr, what) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	stop()
}
