package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nobody is the user of the image, by the number that images without a system agree on.
const nobody = 65532

// descriptor names a blob, see the OCI image specification.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// image writes an OCI layout that holds the program, the roots that browsers trust, and nothing else: skopeo and crane
// copy it to a registry, docker and podman load it.
func (r *release) image(context.Context) error {
	layout := filepath.Join(r.out, "image")
	if err := os.MkdirAll(filepath.Join(layout, "blobs/sha256"), 0o755); err != nil {
		return err
	}
	labels := map[string]string{
		"org.opencontainers.image.title":       "rotator",
		"org.opencontainers.image.description": "Rotates xAI (Grok) API keys without breaking those who use them.",
		"org.opencontainers.image.source":      homepage,
		"org.opencontainers.image.version":     r.version,
		"org.opencontainers.image.revision":    r.commit,
		"org.opencontainers.image.created":     r.date.Format("2006-01-02T15:04:05Z"),
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	var manifests []descriptor
	for _, arch := range r.arches {
		d, err := r.manifest(layout, arch, labels)
		if err != nil {
			return err
		}
		manifests = append(manifests, d)
	}
	index, err := blob(layout, "application/vnd.oci.image.index.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests, "annotations": labels})
	if err != nil {
		return err
	}
	r.imageDigest = index.Digest
	index.Annotations = map[string]string{"org.opencontainers.image.ref.name": r.version}
	top, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []descriptor{index}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(layout, "index.json"), top, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(layout, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

// manifest writes the image of one architecture.
func (r *release) manifest(layout, arch string, labels map[string]string) (descriptor, error) {
	plain, err := r.layer(arch)
	if err != nil {
		return descriptor{}, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain); err != nil {
		return descriptor{}, err
	}
	if err := z.Close(); err != nil {
		return descriptor{}, err
	}
	layer, err := bytesBlob(layout, "application/vnd.oci.image.layer.v1.tar+gzip", packed.Bytes())
	if err != nil {
		return descriptor{}, err
	}
	created := r.date.Format("2006-01-02T15:04:05Z")
	config, err := blob(layout, "application/vnd.oci.image.config.v1+json", map[string]any{
		"created": created, "architecture": arch, "os": "linux",
		"config": map[string]any{
			"User": "65532:65532", "Entrypoint": []string{"/usr/bin/rotator"}, "Cmd": []string{"run"}, "Labels": labels,
			"Env": []string{"PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}, "WorkingDir": "/",
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{digest(plain)}},
		"history": []any{map[string]any{"created": created, "created_by": "deploy/release"}},
	})
	if err != nil {
		return descriptor{}, err
	}
	d, err := blob(layout, "application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": []descriptor{layer}, "annotations": labels,
	})
	d.Platform = &platform{arch, "linux"}
	return d, err
}

// layer is the whole file system of the image.
func (r *release) layer(arch string) ([]byte, error) {
	program, err := os.ReadFile(r.binary(arch))
	if err != nil {
		return nil, err
	}
	licenses, err := os.ReadFile(filepath.Join(r.out, "licenses.txt"))
	if err != nil {
		return nil, err
	}
	var roots bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue // trusted for some certificates only, which a file cannot say
		}
		if err := pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name    string
		mode    int64
		owner   int
		content []byte
	}{
		{"etc/", 0o755, 0, nil},
		{"etc/passwd", 0o644, 0, []byte("rotator:x:65532:65532::/var/lib/rotator:/sbin/nologin\n")},
		{"etc/group", 0o644, 0, []byte("rotator:x:65532:\n")},
		{"etc/rotator/", 0o755, 0, nil},
		{"etc/ssl/", 0o755, 0, nil},
		{"etc/ssl/certs/", 0o755, 0, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, 0, roots.Bytes()},
		{"usr/", 0o755, 0, nil},
		{"usr/bin/", 0o755, 0, nil},
		{"usr/bin/rotator", 0o755, 0, program},
		{"usr/share/", 0o755, 0, nil},
		{"usr/share/licenses.txt", 0o644, 0, licenses},
		{"var/", 0o755, 0, nil},
		{"var/lib/", 0o755, 0, nil},
		{"var/lib/rotator/", 0o700, nobody, nil},
	} {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)), ModTime: r.date, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if f.content == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil { // which writes the end
		return nil, err
	}
	return b.Bytes(), nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// blob writes a value as JSON, whose fields encoding/json puts in a fixed order.
func blob(layout, mediaType string, v any) (descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return bytesBlob(layout, mediaType, b)
}

func bytesBlob(layout, mediaType string, b []byte) (descriptor, error) {
	d := descriptor{MediaType: mediaType, Digest: digest(b), Size: len(b)}
	return d, os.WriteFile(filepath.Join(layout, "blobs/sha256", d.Digest[len("sha256:"):]), b, 0o644)
}
