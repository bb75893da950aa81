package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// module is a module that is linked into the program.
type module struct {
	path, version, sum, license string
	texts                       [][]byte
}

// allowed are the licenses that the program's Apache-2.0 goes with, by sentences that only they have, the most telling
// first. MPL-2.0 asks for the source of its own files, which the module proxy gives.
var allowed = []struct {
	id   string
	says *regexp.Regexp
}{
	{"Apache-2.0", regexp.MustCompile(`Apache License\s+Version 2\.0`)},
	{"MPL-2.0", regexp.MustCompile(`Mozilla Public License,? [Vv]ersion 2\.0`)},
	{"BSD-3-Clause", regexp.MustCompile(`(?s)Redistribution and use in source and binary forms.*(Neither the name|The names? of .* may not be used|used to endorse)`)},
	{"BSD-2-Clause", regexp.MustCompile(`(?s)Redistribution and use in source and binary forms`)},
	{"MIT", regexp.MustCompile(`Permission is hereby granted, free of charge, to any person obtaining`)},
	{"ISC", regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute this software`)},
	{"CC0-1.0", regexp.MustCompile(`CC0 1\.0 Universal`)},
}

var licenseFile = regexp.MustCompile(`(?i)^(licen[sc]e|copying|notice)([-.].*)?$`)

// modules returns what is linked into a binary, each with its license; one without an allowed license is an error.
func (r *release) modules(ctx context.Context, binary string) ([]module, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	goroot, err := r.output(ctx, nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	all := []module{{path: "std", version: info.GoVersion}}
	list := []string{"list", "-m", "-f", "{{.Dir}}"}
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		all = append(all, module{path: d.Path, version: d.Version, sum: d.Sum})
		list = append(list, d.Path)
	}
	found, err := r.output(ctx, nil, "go", list...)
	if err != nil {
		return nil, err
	}
	dirs := append(strings.Fields(string(goroot)), strings.Fields(string(found))...)
	if len(dirs) != len(all) {
		return nil, fmt.Errorf("%d folders for %d modules", len(dirs), len(all))
	}
	var refused []string
	for i := range all {
		if err := all[i].read(dirs[i]); err != nil {
			refused = append(refused, err.Error())
		}
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("licenses: %s", strings.Join(refused, "; "))
	}
	return all, nil
}

// read collects the license texts in a module's folder.
func (m *module) read(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.IsDir() || !licenseFile.MatchString(f.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		m.texts = append(m.texts, text)
		if id := licenseOf(text); m.license == "" {
			m.license = id
		}
	}
	if m.license == "" {
		return fmt.Errorf("%s %s has no license that is allowed", m.path, m.version)
	}
	return nil
}

// licenseOf names the license of a text, "" for one that is not allowed.
func licenseOf(text []byte) string {
	for _, l := range allowed {
		if l.says.Match(text) {
			return l.id
		}
	}
	return ""
}

// licenses writes the texts of all licenses, for the packages and the image.
func (r *release) licenses(ctx context.Context) error {
	all, err := r.modules(ctx, r.binary(r.arches[0]))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "The program rotator is under the Apache License 2.0. These modules are linked into it:\n\n")
	for _, m := range all {
		fmt.Fprintf(&b, "  %-14s %s %s\n", m.license, m.path, m.version)
	}
	for _, m := range all {
		fmt.Fprintf(&b, "\n%s\n%s %s\n%s\n", strings.Repeat("=", 80), m.path, m.version, strings.Repeat("=", 80))
		for _, text := range m.texts {
			fmt.Fprintf(&b, "\n%s\n", bytes.TrimSpace(text))
		}
	}
	if err := r.staged("licenses.txt", b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "licenses.txt"), b.Bytes(), 0o644)
}
