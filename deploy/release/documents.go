package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// documents stages manual pages, completions and the changelogs.
func (r *release) documents(ctx context.Context) error {
	man := filepath.Join(r.stage, "pages")
	if err := os.MkdirAll(man, 0o755); err != nil {
		return err
	}
	if err := r.command(ctx, []string{"ROTATOR_MAN_DIR=" + man}, "go", "test", "-trimpath", "-count=1", "-run=^TestManPages$", "./cmd/rotator"); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(man, "*.[15]"))
	if err != nil || len(pages) == 0 {
		return errors.Join(err, errors.New("no manual pages were made"))
	}
	for _, page := range pages {
		if err := r.packed("man/man"+filepath.Ext(page)[1:]+"/"+filepath.Base(page)+".gz", page); err != nil {
			return err
		}
	}
	// Completions do not depend on the architecture; they come from a program that runs here.
	here := filepath.Join(r.stage, "here")
	if err := r.command(ctx, []string{"GOOS=", "GOARCH=" + runtime.GOARCH}, "go", "build", "-trimpath", "-o", here, "./cmd/rotator"); err != nil {
		return err
	}
	for shell, file := range map[string]string{"bash": "rotator.bash", "zsh": "_rotator", "fish": "rotator.fish"} {
		script, err := r.output(ctx, nil, here, "completion", shell)
		if err != nil {
			return err
		}
		if err := r.staged("completions/"+file, script, 0o644); err != nil {
			return err
		}
	}
	if err := r.packed("changelog.gz", filepath.Join(r.root, "CHANGELOG.md")); err != nil {
		return err
	}
	changelog := fmt.Sprintf("---\n- semver: %q\n  date: %s\n  packager: Rotator maintainers <rotator@example.com>\n  deb: {urgency: medium, distributions: [stable]}\n"+
		"  changes:\n    - note: What changed is in the changelog in /usr/share/doc/rotator.\n", r.packageVersion()+"-1", r.date.Format(time.RFC3339))
	return r.staged("changelog.yaml", []byte(changelog), 0o644)
}

// packed stages a file as gzip packs it.
func (r *release) packed(path, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(text); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return r.staged(path, b.Bytes(), 0o644)
}
