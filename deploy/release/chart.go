package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// chart packs the Helm chart as `helm package` would, with the release's version and the repository of its image; helm
// itself dates the files by the clock, and so never packs the same twice.
func (r *release) chart(context.Context) error {
	folder := filepath.Join(r.root, "deploy/helm/rotator")
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path == filepath.Join(folder, "tests"): // of the chart's authors
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path) // also through links, as helm does
		if err == nil {
			content, err = r.stamped(name, content)
		}
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: "rotator/" + filepath.ToSlash(name), Mode: 0o644, Size: int64(len(content)), ModTime: r.date, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.chartName()), b.Bytes(), 0o644)
}

func (r *release) chartName() string { return "rotator-" + r.chartVersion() + ".tgz" }

// stamped is a file of the chart as the release has it.
func (r *release) stamped(name string, content []byte) ([]byte, error) {
	lines := map[string]map[string]string{
		"Chart.yaml":  {"version:": r.chartVersion(), "appVersion:": fmt.Sprintf("%q", r.version)},
		"values.yaml": {"  repository:": r.repository},
	}[name]
	for key, value := range lines {
		line := regexp.MustCompile(`(?m)^` + key + ` .*$`)
		if n := len(line.FindAll(content, -1)); n != 1 {
			return nil, fmt.Errorf("the chart's %s has %d lines that begin with %q", name, n, key)
		}
		content = line.ReplaceAllLiteral(content, []byte(key+" "+value))
	}
	return content, nil
}
