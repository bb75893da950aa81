package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// homepage names the project in URLs that need not lead anywhere.
const homepage = "https://example.com/rotator"

// component is a part of a list of contents, see the CycloneDX 1.5 specification.
type component struct {
	Ref      string    `json:"bom-ref"` // the PURL, set by contents
	Type     string    `json:"type"`
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	PURL     string    `json:"purl"`
	Licenses []license `json:"licenses"`
	Hashes   []hash    `json:"hashes,omitempty"`
}

type license struct {
	License map[string]string `json:"license"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

func licensed(id string) []license { return []license{{map[string]string{"id": id}}} }

// bom writes what is linked into each binary, and what the image and the chart are and hold beside it.
func (r *release) bom(ctx context.Context) error {
	for _, arch := range r.arches {
		all, err := r.modules(ctx, r.binary(arch))
		if err != nil {
			return err
		}
		list := make([]component, 0, len(all))
		for _, m := range all {
			list = append(list, component{Type: "library", Name: m.path, Version: m.version, PURL: golang(m.path, m.version), Licenses: licensed(m.license)})
		}
		if err := r.contents("rotator-linux-"+arch, list); err != nil {
			return err
		}
	}
	const roots = "golang.org/x/crypto/x509roots/fallback"
	version, err := r.output(ctx, nil, "go", "-C", "deploy/release", "list", "-m", "-f", "{{.Version}}", roots)
	if err != nil {
		return err
	}
	chart, err := os.ReadFile(filepath.Join(r.out, r.chartName()))
	if err != nil {
		return err
	}
	v := strings.TrimSpace(string(version))
	return r.contents("rotator", []component{
		{Type: "container", Name: "image", Version: r.version, Licenses: licensed("Apache-2.0"), Hashes: []hash{sha(r.imageDigest)},
			PURL: "pkg:oci/" + strings.ToLower(path.Base(r.repository)) + "@" + url.QueryEscape(r.imageDigest) + "?repository_url=" + url.QueryEscape(r.repository)},
		{Type: "data", Name: roots, Version: v, PURL: golang(roots, v), Licenses: licensed("BSD-3-Clause")},
		{Type: "application", Name: "chart", Version: r.chartVersion(), PURL: "pkg:helm/rotator@" + r.chartVersion(), Licenses: licensed("Apache-2.0"), Hashes: []hash{sha(digest(chart))}},
	})
}

// golang is a module as the lists of vulnerabilities name it: in small letters, and Go's own library stdlib.
func golang(module, version string) string {
	if module == "std" {
		module, version = "stdlib", strings.TrimPrefix(version, "go")
	}
	return "pkg:golang/" + strings.ToLower(module) + "@" + url.QueryEscape(version)
}

func sha(digest string) hash { return hash{"SHA-256", strings.TrimPrefix(digest, "sha256:")} }

// contents writes a list of contents as CycloneDX 1.5.
func (r *release) contents(of string, list []component) error {
	whole := "pkg:generic/" + of + "@" + url.QueryEscape(r.version)
	refs := make([]string, 0, len(list))
	for i := range list {
		list[i].Ref = list[i].PURL
		refs = append(refs, list[i].Ref)
	}
	return r.statement(of+".cdx.json", map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "serialNumber": r.serial(of),
		"metadata": map[string]any{
			"timestamp": r.date.Format("2006-01-02T15:04:05Z"),
			"component": component{Ref: whole, Type: "application", Name: of, Version: r.version, PURL: whole, Licenses: licensed("Apache-2.0")},
			"supplier":  map[string]string{"name": "Rotator maintainers"},
		},
		"components":   list,
		"dependencies": []any{map[string]any{"ref": whole, "dependsOn": refs}},
	})
}

// serial names a list of contents: the same one for the same version of the same commit.
func (r *release) serial(of string) string {
	b := sha256.Sum256([]byte(of + " " + r.version + " " + r.commit))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80 // of RFC 9562's version 8, which is for digests
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// provenance writes how the release was made, as an in-toto statement with a SLSA 1.0 predicate. It names no machine: who
// runs the same again gets the same bytes.
func (r *release) provenance(context.Context) error {
	sums, err := r.sums()
	if err != nil {
		return err
	}
	type subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
	subjects := make([]subject, 0, len(sums))
	for _, s := range sums {
		subjects = append(subjects, subject{s.name, map[string]string{"sha256": s.sum}})
	}
	source := map[string]any{"uri": "git+" + homepage}
	if r.commit != "" && !strings.HasSuffix(r.commit, dirty) {
		source["digest"] = map[string]string{"gitCommit": r.commit}
	}
	return r.statement("provenance.json", map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": "https://slsa.dev/provenance/v1",
		"predicate": map[string]any{
			"buildDefinition": map[string]any{
				"buildType":            homepage + "/docs/release.md",
				"externalParameters":   map[string]any{"version": r.version, "architectures": r.arches, "image": r.repository, "epoch": r.date.Unix()},
				"resolvedDependencies": []any{source, map[string]any{"uri": golang("std", runtime.Version())}, map[string]any{"uri": "pkg:golang/" + nfpm}},
			},
			"runDetails": map[string]any{"builder": map[string]string{"id": homepage + "/deploy/release"}},
		},
	})
}

func (r *release) statement(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name), append(b, '\n'), 0o644)
}

type sum struct{ name, sum string }

// sums are the SHA-256 of every file made so far, by name.
func (r *release) sums() ([]sum, error) {
	var all []sum
	err := filepath.WalkDir(r.out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(r.out, path)
		all = append(all, sum{name, fmt.Sprintf("%x", sha256.Sum256(b))})
		return err
	})
	slices.SortFunc(all, func(a, b sum) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return all, err
}

// checksums writes SHA256SUMS, as `sha256sum -c` reads it, and where a key is given its signature, which
// `openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig` checks.
func (r *release) checksums(context.Context) error {
	sums, err := r.sums()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, s := range sums {
		fmt.Fprintf(&b, "%s  %s\n", s.sum, s.name)
	}
	path := filepath.Join(r.out, "SHA256SUMS")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil || r.key == "" {
		return err
	}
	text, err := os.ReadFile(r.key)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("the signing key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return errors.New("the signing key is not PKCS 8")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return errors.New("the signing key is not Ed25519")
	}
	signature, err := key.Sign(nil, b.Bytes(), crypto.Hash(0))
	if err != nil {
		return err
	}
	return os.WriteFile(path+".sig", signature, 0o644)
}
