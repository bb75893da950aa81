package file

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rotator/stores"
)

// folder lines of a document: path → mode.
func folders(t *testing.T, document string) map[string]os.FileMode {
	t.Helper()
	all := map[string]os.FileMode{}
	for line := range strings.Lines(document) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		mode, err := strconv.ParseUint(f[2], 8, 32)
		if err != nil || f[0] != "d" || strings.Join(f[3:], " ") != "rotator rotator -" {
			t.Fatalf("%q: %v", line, err)
		}
		all[f[1]] = os.FileMode(mode)
	}
	return all
}

// TestPermissions lays out exactly the folders that the document names, owned by the user who then rotates: everything
// goes well. With one of them closed for writing, check and rotation both say so.
func TestPermissions(t *testing.T) {
	t.Parallel()
	targets := []stores.Target{{Path: "team/chat"}, {Path: "team/other", Field: "api_key"}, {Path: "deep/er/key"}}
	closings := map[string]os.FileMode{"": 0, ".rotator": 0o500, "team": 0o555, "deep/er": 0o555}
	for closed, mode := range closings {
		t.Run("closed "+closed, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ordinary(t, dir, func() {
				o := Options{Dir: dir}
				made, err := o.Permissions(targets)
				if err != nil {
					t.Fatal(err)
				}
				all := folders(t, made[0].Text)
				if len(all) != len(closings)-1 {
					t.Fatalf("the folders are %v", all)
				}
				for path, mode := range all {
					if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, mode)); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Chmod(dir, 0o555); err != nil { // nothing is said of Dir itself
					t.Fatal(err)
				}
				defer func() { _ = os.Chmod(dir, 0o755) }()
				if closed != "" {
					path := filepath.Join(dir, closed)
					if err := os.Chmod(path, mode); err != nil {
						t.Fatal(err)
					}
					defer func() { _ = os.Chmod(path, 0o755) }()
				}
				s, first, second := open(t, dir, nil), key(), key()
				for _, target := range targets {
					check := s.Check(t.Context(), target)
					rotation := errors.Join(
						s.Promote(t.Context(), target, attempt, first, ""), s.Stage(t.Context(), target, attempt, second),
						s.Promote(t.Context(), target, attempt, second, first.Fingerprint()), s.Discard(t.Context(), target, attempt))
					need := closed != "" && (closed == stateFolder || strings.HasPrefix(target.Path, closed))
					if errors.Is(check, stores.ErrDenied) != need || errors.Is(rotation, stores.ErrDenied) != need || !need && errors.Join(check, rotation) != nil {
						t.Errorf("%s: check %v, rotation %v", target.Path, check, rotation)
					}
				}
			})
		})
	}
}

// TestPermissionsText: what a policy asks of its files is listed, and systemd-tmpfiles, where there is one, reads the rest.
func TestPermissionsText(t *testing.T) {
	t.Parallel()
	made, err := Options{Dir: `/srv/my "keys" 100%`}.Permissions([]stores.Target{
		{Path: "b/key", Options: map[string]string{"owner": "nobody-here", "mode": "0640"}}, {Path: "a"}, {Path: "b/key", Field: "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `# What is staged and former values lie in .rotator; the other folders are those of the targets.
d "/srv/my \"keys\" 100%%" 0755 rotator rotator -
d "/srv/my \"keys\" 100%%/.rotator" 0700 rotator rotator -
d "/srv/my \"keys\" 100%%/b" 0755 rotator rotator -
# b/key: owner nobody-here, mode 0640
`
	if made[0].Text != want {
		t.Errorf("it is\n%s", made[0].Text)
	}
	if _, err := (Options{Dir: "/srv"}).Permissions([]stores.Target{{Path: "../etc/x"}}); !errors.Is(err, stores.ErrInvalid) {
		t.Errorf("a path that leads out: %v", err)
	}
	program, err := exec.LookPath("systemd-tmpfiles")
	if err != nil || os.Geteuid() != 0 {
		return // the text above is what it took
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"passwd": "rotator:x:711:711::/:/bin/false\n", "group": "rotator:x:711:\n", "keys.conf": made[0].Text} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(program, "--create", "--root="+root, filepath.Join(root, "etc", "keys.conf")).CombinedOutput()
	if _, uid, _ := status(t, filepath.Join(root, `srv/my "keys" 100%`, stateFolder)); err != nil || uid != 711 {
		t.Errorf("systemd-tmpfiles: %v, owner %d\n%s", err, uid, out)
	}
}
