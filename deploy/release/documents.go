package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// documents stages manual pages, completions and the changelog.
func (r *release) documents(ctx context.Context) error {
	man := filepath.Join(r.stage, "pages")
	if err := os.MkdirAll(man, 0o755); err != nil {
		return err
	}
	if err := r.command(ctx, []string{"ROTATOR_MAN_DIR=" + man}, "go", "test", "-trimpath", "-count=1", "-run=^TestManPages$", "./cmd/rotator"); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(man, "*.1"))
	if err != nil || len(pages) == 0 {
		return fmt.Errorf("no manual pages were made: %w", err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := z.Write(text); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		if err := r.staged("man/"+filepath.Base(page)+".gz", packed.Bytes(), 0o644); err != nil {
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
	changelog := fmt.Sprintf("---\n- semver: %q\n  date: %s\n  packager: Rotator maintainers <rotator@example.com>\n  deb: {urgency: medium, distributions: [stable]}\n"+
		"  changes:\n    - note: What changed stands in CHANGELOG.md of the source.\n", r.packageVersion(), r.date.Format(time.RFC3339))
	return r.staged("changelog.yaml", []byte(changelog), 0o644)
}
