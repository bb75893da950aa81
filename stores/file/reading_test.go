package file

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rotator/stores"
)

// TestReadPermissions: with exactly the rights for observe mode the targets are read. Nothing is written, not even a lock.
func TestReadPermissions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ordinary(t, dir, func() {
		made, err := Options{Dir: dir}.ReadPermissions([]stores.Target{{Path: "team/chat"}, {Path: "team/other", Field: "api_key"}, {Path: "team/chat"}})
		if err != nil {
			t.Fatal(err)
		}
		want := "enter  DIR\nenter  DIR/team\nread   DIR/team/chat\nread   DIR/team/other\n"
		if got := strings.ReplaceAll(made[0].Text, dir, "DIR"); got != want {
			t.Errorf("it is\n%s", got)
		}
		first := key()
		if err := os.Mkdir(filepath.Join(dir, "team"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "team/chat"), []byte(first.Reveal()), 0o444); err != nil {
			t.Fatal(err)
		}
		for _, folder := range []string{dir, filepath.Join(dir, "team")} {
			if err := os.Chmod(folder, 0o555); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Chmod(folder, 0o755) }()
		}
		s, target := open(t, dir, nil), stores.Target{Path: "team/chat"}
		if v, err := s.Current(t.Context(), target); err != nil || !v.Equal(first) {
			t.Errorf("it cannot be read: %v", err)
		}
		if _, err := s.Place(t.Context(), target); err != nil {
			t.Error(err)
		}
		if _, err := s.Warnings(t.Context(), []stores.Target{target}); err != nil {
			t.Error(err)
		}
		var left []string
		_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
			left = append(left, strings.TrimPrefix(path, dir))
			return nil
		})
		if !slices.Equal(left, []string{"", "/team", "/team/chat"}) {
			t.Errorf("there is %q", left)
		}
	})
}
