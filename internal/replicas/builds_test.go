package replicas

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// The builds of the product that replicas are processes of, each made once for all tests of a run.
var (
	binary = sync.OnceValues(buildProduct)
	skewed = sync.OnceValues(buildSkewed)
	ahead  = sync.OnceValues(buildAhead)
)

// folder is where builds are kept, for TestMain to remove.
var folder = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "rotator-replicas-") })

// build builds the program. What a build downloads may be refused it for once.
func build(name string, flags ...string) (string, error) {
	to, err := folder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(to, name)
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w -X main.version=" + strings.TrimPrefix(name, "rotator-"), "-o", path}, flags...)
	for tries := 1; ; tries++ {
		cmd := exec.Command("go", append(args, "rotator/cmd/rotator")...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return path, nil
		}
		if tries == 3 {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
}

// buildProduct builds what is here. ROTATOR_BINARY names a binary to try in its place.
func buildProduct() (string, error) {
	if path := os.Getenv("ROTATOR_BINARY"); path != "" {
		return path, nil
	}
	return build("rotator")
}

// clockVariable names the file that says how many seconds the clock of a skewed build is ahead of the machine's.
const clockVariable = "ROTATOR_TEST_CLOCK"

// skewSource goes into Go's package time. The file is read by a goroutine of its own: timers ask for the time where
// nothing can be read.
const skewSource = `package time

import (
	"sync/atomic"
	"syscall"
)

var skew atomic.Int64 // seconds

func init() {
	readSkew()
	go func() {
		for {
			Sleep(50 * Millisecond)
			readSkew()
		}
	}()
}

func readSkew() {
	name, _ := syscall.Getenv("` + clockVariable + `")
	text, err := readFile(name)
	if err != nil {
		return
	}
	n, sign := int64(0), int64(1)
	for _, c := range text {
		if c == '-' {
			sign = -1
		} else if '0' <= c && c <= '9' {
			n = n*10 + int64(c-'0')
		}
	}
	skew.Store(n * sign)
}
`

// buildSkewed builds the product with a standard library whose wall clock is off by what a file says. Nothing in the
// product knows of it, and nothing that it reads escapes it; clocks that measure only (monotonic, since boot) are true,
// as they are on a machine whose date is set.
func buildSkewed() (string, error) {
	const was, is = "	sec, nsec, mono := runtimeNow()\n	if mono == 0 {", "	sec, nsec, mono := runtimeNow()\n	sec += skew.Load()\n	if mono == 0 {"
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	library := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	text, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		return "", err
	}
	if strings.Count(string(text), was) != 1 {
		return "", fmt.Errorf("this Go's time.Now is not the one that a skew fits into")
	}
	return overlaid("rotator-skewed", map[string]string{
		filepath.Join(library, "time.go"): strings.Replace(string(text), was, is, 1), filepath.Join(library, "skew.go"): skewSource,
	})
}

// aheadSource is a migration of a later version: it only adds, so that programs of the schema before may run beside it.
const aheadSource = `-- compatible with schema %d
CREATE TABLE ahead (policy TEXT PRIMARY KEY, at BIGINT);
ALTER TABLE policies ADD COLUMN ahead BIGINT NOT NULL DEFAULT 0;
`

// buildAhead builds the next version: the product with one more migration.
func buildAhead() (string, error) {
	const folder = "../../rotation/journal/sqldb/migrations"
	files, err := filepath.Glob(folder + "/*.sql")
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(filepath.Join(folder, fmt.Sprintf("%04d_ahead.sql", len(files)+1)))
	if err != nil {
		return "", err
	}
	return overlaid("rotator-ahead", map[string]string{path: fmt.Sprintf(aheadSource, len(files))})
}

// overlaid builds the product with other texts of some files, or with more files.
func overlaid(name string, texts map[string]string) (string, error) {
	to, err := folder()
	if err != nil {
		return "", err
	}
	overlay := map[string]string{}
	for path, text := range texts {
		overlay[path] = filepath.Join(to, name+"-"+filepath.Base(path))
		if err := os.WriteFile(overlay[path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return "", err
	}
	path := filepath.Join(to, name+"-overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		return "", err
	}
	return build(name, "-overlay="+path)
}
