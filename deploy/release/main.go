// Command release makes everything that is published, the same bytes each time: binaries, packages, an image, a chart,
// lists of what is inside, checksums, provenance, and a signature when a key is given. It is a module of its own, so that
// the program depends on none of it.
//
//	cd deploy/release && go run . -version 1.2.3 -out ../../dist
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := release{}
	arches := flag.String("arch", "amd64,arm64", "architectures, with commas")
	flag.StringVar(&r.version, "version", "unknown", "the version that the program tells")
	flag.StringVar(&r.out, "out", "../../dist", "folder that is replaced by the release")
	flag.StringVar(&r.root, "root", "../..", "the project's folder")
	flag.StringVar(&r.key, "key", "", "file with an Ed25519 key (PKCS 8, PEM) to sign the checksums with")
	flag.StringVar(&r.repository, "image", "rotator", "repository that the chart takes the image from")
	flag.StringVar(&r.vulndb, "vulndb", "https://vuln.go.dev", "database of known vulnerabilities, or none")
	flag.Parse()
	r.arches = strings.Split(*arches, ",")
	if err := r.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// nfpm makes packages. It is run, not linked: it would bring two hundred modules along.
const nfpm = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0"

// release is one release in the making.
type release struct {
	root, out, version, key string
	repository, vulndb      string
	arches                  []string

	commit      string    // "" outside of a repository, and with dirty at its end when files were changed since
	date        time.Time // of the commit: what every file made here has
	stage       string    // folder of what goes into packages
	imageDigest string    // of its index, when it is made
}

// run makes the release in a folder beside its own, which it replaces at the end: a release that failed leaves none.
func (r *release) run(ctx context.Context) error {
	for _, p := range []*string{&r.root, &r.out} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	if m := semantic.FindStringSubmatch(r.version); m != nil {
		r.version = m[1] // of a tag: what is released is called 1.2.3 everywhere
	}
	r.dated(ctx)
	syscall.Umask(0o022) // or the modes of what is made, in packages too, would be those that the user gives to his own
	final := r.out
	r.out = final + ".partial"
	stage, err := os.MkdirTemp("", "rotator-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(stage) }() // only a copy of what is in the packages
	r.stage = stage
	for _, dir := range []string{r.out, final} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		r.vulnerabilities, r.binaries, r.documents, r.licenses, r.packages, r.image, r.chart, r.bom, r.provenance, r.checksums,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return os.Rename(r.out, final)
}

// dirty is what git describe puts behind a commit after which files were changed.
const dirty = "-dirty"

// dated finds the commit and its time. $SOURCE_DATE_EPOCH goes before; outside of a repository it is a day that packagers
// do not take for a mistake.
func (r *release) dated(ctx context.Context) {
	git := func(args ...string) string {
		out, _ := exec.CommandContext(ctx, "git", append([]string{"-C", r.root}, args...)...).Output() // an archive has no commit
		return strings.TrimSpace(string(out))
	}
	if r.commit = git("rev-parse", "HEAD"); git("status", "--porcelain", "--untracked-files=no") != "" {
		fmt.Fprintln(os.Stderr, "release: WITH changes that are in no commit")
		r.commit += dirty
	}
	seconds, err := strconv.ParseInt(git("log", "-1", "--format=%ct"), 10, 64)
	if err != nil {
		seconds = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	}
	if n, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		seconds = n
	}
	r.date = time.Unix(seconds, 0).UTC()
}

func (r *release) binary(arch string) string { return filepath.Join(r.out, "rotator-linux-"+arch) }

// command runs a program in the project's folder, and shows what it says when it fails.
func (r *release) command(ctx context.Context, env []string, name string, args ...string) error {
	_, err := r.output(ctx, env, name, args...)
	return err
}

// fetched is command for a program that is downloaded first: where that fails, it is tried again.
func (r *release) fetched(ctx context.Context, env []string, name string, args ...string) (err error) {
	for range 3 {
		if err = r.command(ctx, env, name, args...); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func (r *release) output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = r.root
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly", "SOURCE_DATE_EPOCH="+strconv.FormatInt(r.date.Unix(), 10))
	c.Env = append(c.Env, env...)
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, said.String(), out)
	}
	return out, nil
}

func (r *release) binaries(ctx context.Context) error {
	for _, arch := range r.arches {
		if err := r.command(ctx, []string{"GOOS=linux", "GOARCH=" + arch}, "go", "build", "-trimpath", "-buildvcs=false",
			"-ldflags=-s -w -buildid= -X main.version="+r.version+" -X main.commit="+r.commit, "-o", r.binary(arch), "./cmd/rotator"); err != nil {
			return err
		}
	}
	return nil
}

var semantic = regexp.MustCompile(`^v?(\d+\.\d+\.\d+)$`)

// packageVersion is the version as package managers order them: what is no release is older than the first.
func (r *release) packageVersion() string {
	if m := semantic.FindStringSubmatch(r.version); m != nil {
		return m[1]
	}
	clean := regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(r.version, ".")
	return "0.0.0~" + r.date.Format("20060102") + "." + clean
}

// chartVersion is the version as Helm wants it: a semantic one, whose parts are no numbers that begin with 0.
func (r *release) chartVersion() string {
	release, rest, found := strings.Cut(r.packageVersion(), "~")
	if !found {
		return release
	}
	return release + "-" + strings.ReplaceAll(rest, ".", "-")
}

func (r *release) packages(ctx context.Context) error {
	template, err := os.ReadFile(filepath.Join(r.root, "deploy/packages/nfpm.yaml"))
	if err != nil {
		return err
	}
	text, err := r.documented(strings.ReplaceAll(string(template), "STAGE/", r.stage+"/"))
	if err != nil {
		return err
	}
	config := filepath.Join(r.stage, "nfpm.yaml")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	for _, arch := range r.arches {
		b, err := os.ReadFile(r.binary(arch))
		if err != nil {
			return err
		}
		if err := r.staged("rotator", b, 0o755); err != nil {
			return err
		}
		env := []string{"ARCH=" + arch, "VERSION=" + r.packageVersion(), "GOFLAGS=-trimpath"}
		for _, kind := range []string{"deb", "rpm"} {
			if err := r.fetched(ctx, env, "go", "run", nfpm, "package", "-f", config, "-p", kind, "-t", r.out); err != nil {
				return err
			}
		}
	}
	return nil
}

var documentation = regexp.MustCompile(`(?m)^  - \{src: "(.*)", dst: (.*/), type: doc\}\n`)

// documented rewrites the lines of the type doc: one for each file and kind of package. nfpm marks documentation in an
// .rpm only file by file, and leaves it out of a .deb.
func (r *release) documented(config string) (string, error) {
	var failed error
	config = documentation.ReplaceAllStringFunc(config, func(line string) string {
		m := documentation.FindStringSubmatch(line)
		if !filepath.IsAbs(m[1]) {
			m[1] = filepath.Join(r.root, m[1])
		}
		files, _ := filepath.Glob(m[1]) // a pattern that is none finds none
		if len(files) == 0 {
			failed = fmt.Errorf("there is no %s to document the program with", m[1])
		}
		var lines strings.Builder
		for _, file := range files {
			for _, is := range []string{"packager: rpm, type: doc", "packager: deb"} {
				fmt.Fprintf(&lines, "  - {src: %q, dst: %s, %s, file_info: {mode: 0644}}\n", file, m[2]+filepath.Base(file), is)
			}
		}
		return lines.String()
	})
	return config, failed
}

// staged writes a file for the packages, dated as all of them.
func (r *release) staged(path string, content []byte, mode os.FileMode) error {
	path = filepath.Join(r.stage, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		return err
	}
	return os.Chtimes(path, r.date, r.date)
}
