package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRelease makes a release twice, the second time from another folder, of the version as a tag has it, and by someone who
// keeps his files to himself: all of it must be the same, to the byte, and say what it is.
func TestRelease(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(dir, "else", "where")
	if said, err := exec.Command("sh", "-ec", `umask 077; mkdir -p "$1"; cp -R ../../. "$1"; chmod -R go= "$1"`, "sh", elsewhere).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var sums [2][]byte
	for i, name := range []string{"one", "another"} {
		defer syscall.Umask(syscall.Umask([]int{0o022, 0o077}[i]))
		r := release{root: []string{"../..", elsewhere}[i], out: filepath.Join(dir, name), version: []string{"1.2.3", "v1.2.3"}[i], key: key, repository: "registry.example/rotator", vulndb: "none", arches: []string{"amd64", "arm64"}}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		sums[i] = read(t, dir, name, "SHA256SUMS")
	}
	if !bytes.Equal(sums[0], sums[1]) {
		t.Errorf("two builds differ:\n%s\n%s", sums[0], sums[1])
	}
	for _, file := range []string{"rotator-linux-amd64", "rotator-linux-arm64", "rotator_1.2.3-1_amd64.deb", "rotator_1.2.3-1_arm64.deb",
		"rotator-1.2.3-1.x86_64.rpm", "rotator-1.2.3-1.aarch64.rpm", "image/index.json", "rotator-1.2.3.tgz",
		"rotator-linux-amd64.cdx.json", "rotator-linux-arm64.cdx.json", "rotator.cdx.json", "provenance.json", "licenses.txt"} {
		if !strings.Contains(string(sums[0]), "  "+file+"\n") {
			t.Errorf("%s is not there", file)
		}
	}
	check := exec.Command("sha256sum", "--check", "--quiet", "SHA256SUMS")
	check.Dir = filepath.Join(dir, "one")
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	if !ed25519.Verify(public, sums[0], read(t, dir, "one", "SHA256SUMS.sig")) {
		t.Error("the signature is wrong")
	}
	image(t, filepath.Join(dir, "one/image"))
	binaries(t, filepath.Join(dir, "one"))
	chart(t, filepath.Join(dir, "one/rotator-1.2.3.tgz"))
	lists(t, filepath.Join(dir, "one"))
	provenances(t, filepath.Join(dir, "one"))
	if info, err := os.Stat(filepath.Join(dir, "another/rotator-linux-amd64")); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// binaries: each is a static program for its machine.
func binaries(t *testing.T, dir string) {
	t.Helper()
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		f, err := elf.Open(filepath.Join(dir, "rotator-linux-"+arch))
		if err != nil {
			t.Fatal(err)
		}
		libraries, err := f.ImportedLibraries()
		if f.Machine != machine || f.Type != elf.ET_EXEC || len(libraries) > 0 || f.Section(".interp") != nil || err != nil {
			t.Errorf("%s: %v %v, libraries %q, %v", arch, f.Machine, f.Type, libraries, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// chart: it is of this version and takes this image; its authors' tests are not in it.
func chart(t *testing.T, path string) {
	t.Helper()
	list, err := exec.Command("tar", "-tzf", path).CombinedOutput()
	if err != nil || !strings.Contains(string(list), "rotator/templates/tests/check.yaml\n") || !strings.Contains(string(list), "rotator/README.md\n") || strings.Contains(string(list), "rotator/tests/") {
		t.Errorf("%v\n%s", err, list)
	}
	for file, want := range map[string]string{
		"rotator/Chart.yaml":  "\nversion: 1.2.3\nappVersion: \"1.2.3\"\n",
		"rotator/values.yaml": "\n  repository: registry.example/rotator\n",
	} {
		if text, err := exec.Command("tar", "-xzOf", path, file).CombinedOutput(); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %q: %v\n%s", file, want, err, text)
		}
	}
}

// TestCommit: what is made of changed files does not say that it is a commit's.
func TestCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	write(t, filepath.Join(dir, "file"), "one")
	git("init", "-q")
	git("add", "file")
	git("commit", "-q", "-m", "one", "--date=2026-01-02T03:04:05Z")
	commit := git("rev-parse", "HEAD")
	for _, want := range []string{commit, commit + "-dirty"} {
		r := release{root: dir, out: t.TempDir()}
		r.dated(t.Context())
		if err := r.provenance(t.Context()); err != nil {
			t.Fatal(err)
		}
		if says := strings.Contains(string(read(t, r.out, "provenance.json")), commit); r.commit != want || says != (want == commit) {
			t.Errorf("the commit is %s, want %s; the provenance names it: %v", r.commit, want, says)
		}
		write(t, filepath.Join(dir, "file"), "another")
	}
}

// TestVersions: every kind of package orders versions in its own way, and takes what is no release too.
func TestVersions(t *testing.T) {
	date := time.Date(2026, 11, 2, 3, 4, 5, 0, time.UTC)
	for version, want := range map[string][2]string{
		"1.2.3":             {"1.2.3", "1.2.3"},
		"v1.2.3":            {"1.2.3", "1.2.3"},
		"v1.2.3-4-gabcdef0": {"0.0.0~20261102.v1.2.3.4.gabcdef0", "0.0.0-20261102-v1-2-3-4-gabcdef0"},
		"0123456-dirty":     {"0.0.0~20261102.0123456.dirty", "0.0.0-20261102-0123456-dirty"},
	} {
		r := release{version: version, date: date}
		if got := [2]string{r.packageVersion(), r.chartVersion()}; got != want {
			t.Errorf("%s: got %q, want %q", version, got, want)
		}
	}
}

// image follows every descriptor of a layout to its blob, and looks into the configuration.
func image(t *testing.T, layout string) {
	t.Helper()
	load := func(d descriptor, v any) {
		t.Helper()
		b := read(t, layout, "blobs/sha256", strings.TrimPrefix(d.Digest, "sha256:"))
		if digest(b) != d.Digest || len(b) != d.Size {
			t.Errorf("%s: %d bytes, want %d, or another digest", d.Digest, len(b), d.Size)
		}
		if v != nil {
			if err := json.Unmarshal(b, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	type manifest struct {
		Manifests, Layers []descriptor
		Config            descriptor
	}
	var top, index manifest
	if err := json.Unmarshal(read(t, layout, "index.json"), &top); err != nil || len(top.Manifests) != 1 {
		t.Fatalf("index.json: %+v, %v", top, err)
	}
	if name := top.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; name != "1.2.3" {
		t.Errorf("the image is called %s", name)
	}
	load(top.Manifests[0], &index)
	var arches []string
	for _, d := range index.Manifests {
		var m manifest
		load(d, &m)
		var c struct {
			Architecture string
			Config       struct{ User string }
		}
		load(m.Config, &c)
		if c.Config.User != "65532:65532" || c.Architecture != d.Platform.Architecture || len(m.Layers) != 1 {
			t.Errorf("configuration %+v of %+v", c, d)
		}
		for _, layer := range m.Layers {
			load(layer, nil)
		}
		arches = append(arches, c.Architecture)
	}
	if strings.Join(arches, " ") != "amd64 arm64" {
		t.Errorf("architectures %s", arches)
	}
}

// TestLicenses: what is not allowed is refused, however a module calls it.
func TestLicenses(t *testing.T) {
	for text, want := range map[string]string{
		"Permission is hereby granted, free of charge, to any person obtaining a copy":    "MIT",
		"Apache License\n        Version 2.0, January 2004":                               "Apache-2.0",
		"Mozilla Public License, version 2.0":                                             "MPL-2.0",
		"Redistribution and use in source and binary forms, … Neither the name of Google": "BSD-3-Clause",
		"Business Source License 1.1\nLicensor: someone":                                  "",
		"GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007":                             "",
		"GNU AFFERO GENERAL PUBLIC LICENSE":                                               "",
		"Server Side Public License":                                                      "",
		"All rights reserved.":                                                            "",
	} {
		if got := licenseOf([]byte(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	dir := t.TempDir()
	m := module{path: "example.com/closed", version: "v1.0.0"}
	if err := m.read(dir); err == nil {
		t.Error("a module without a license is taken")
	}
	if err := os.WriteFile(filepath.Join(dir, "LICENSE.txt"), []byte("Business Source License 1.1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.read(dir); err == nil || !strings.Contains(err.Error(), "example.com/closed") {
		t.Errorf("a module under a license that is not allowed is taken: %v", err)
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
