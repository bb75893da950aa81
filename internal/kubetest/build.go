package kubetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Tool is a program that is built from a module below this folder, and kept.
type Tool struct {
	name    string
	module  string // folder of its go.mod
	of      string // the package to build
	sources []string
	values  string // of variables, for the linker: what the projects' own Makefiles set
}

// The programs that tests use.
var (
	Server = Tool{name: "kube-apiserver", module: "server", of: ".", sources: []string{"main.go"},
		values: " -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"}
	Helm = Tool{name: "helm", module: "helm", of: "helm.sh/helm/v3/cmd/helm",
		values: " -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36" +
			" -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=36"}
	Unittest = Tool{name: "helm-unittest", module: "helm", of: "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"}
)

// Tools are all of them.
var Tools = []Tool{Server, Helm, Unittest}

// buildLimit bounds one build: a cold one of the server takes about four minutes on two cores.
const buildLimit = 25 * time.Minute

// cacheVariable names the folder where programs are kept; otherwise it is rotator-test in the user's cache folder.
const cacheVariable = "ROTATOR_TEST_CACHE"

// Build returns the program's path. It is built at most once for each content of its module and each Go release, also
// when several test binaries ask at once. Before a build, which may take minutes, it calls slow with what to say.
func (t Tool) Build(ctx context.Context, slow func(string)) (string, error) {
	source, err := moduleFolder(t.module)
	if err != nil {
		return "", err
	}
	version, err := t.version(source)
	if err != nil {
		return "", err
	}
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, t.name+"-"+version)
	lock, err := os.OpenFile(binary+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // which also releases the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	slow("building " + t.name + ", some minutes when cold")
	return binary, t.compile(ctx, source, binary)
}

// compile builds the program. It appears under its name only when it is whole.
func (t Tool) compile(ctx context.Context, source, binary string) error {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	partial := binary + ".partial"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"+t.values, "-o", partial, t.of)
	build.Dir = source
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS=", "GOARCH=")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", t.name, source, err, out)
	}
	return os.Rename(partial, binary)
}

// version names what the program is built from.
func (t Tool) version(source string) (string, error) {
	sum := sha256.New()
	_, _ = io.WriteString(sum, runtime.Version()+runtime.GOOS+runtime.GOARCH+t.of+t.values)
	for _, name := range append([]string{"go.mod", "go.sum"}, t.sources...) {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(sum, "\x00%s\x00%d\x00%s", name, len(content), content)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// moduleFolder finds a module upwards from the working folder, which for a test is that of its package.
func moduleFolder(name string) (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		source := filepath.Join(folder, "internal", "kubetest", name)
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("internal/kubetest is not above the working folder")
		}
		folder = parent
	}
}

// cacheFolder returns the folder for built programs and makes sure that it is there.
func cacheFolder() (string, error) {
	folder := os.Getenv(cacheVariable)
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for test programs, set %s: %w", cacheVariable, err)
		}
		folder = filepath.Join(cache, "rotator-test")
	}
	return folder, os.MkdirAll(folder, 0o700)
}
