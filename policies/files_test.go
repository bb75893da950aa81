package policies

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rotator/internal/trust"
)

// A file that a group may write is refused: the tests' own are not, whatever the umask.
func init() { syscall.Umask(0o022) }

// owned is this machine, where some paths belong to others.
type owned struct {
	trust.System
	others map[string]trust.Facts // by path, without links
}

func (o owned) Lstat(path string) (trust.Facts, error) {
	if f, ok := o.others[path]; ok {
		return f, nil
	}
	return o.System.Lstat(path)
}

// TestWhoseFolder: a file that others may write costs its own policies, a folder all that are in it; and what is refused is
// said with the command that ends it.
func TestWhoseFolder(t *testing.T) {
	t.Parallel()
	const stranger = 54321
	for what, c := range map[string]struct {
		chmod    map[string]fs.FileMode // below the folder
		given    map[string]trust.Facts // likewise
		in       string                 // the policies in force
		problems []string
	}{
		"nobody else":            {nil, nil, "a b c", nil},
		"a file of everyone's":   {map[string]fs.FileMode{"b.yaml": 0o666}, nil, "a c", []string{"b.yaml may be written by the group ", "chmod go-w "}},
		"a file of a group":      {map[string]fs.FileMode{"b.yaml": 0o660}, nil, "a c", []string{"b.yaml may be written by the group "}},
		"a file of another":      {nil, map[string]trust.Facts{"b.yaml": {Mode: 0o644, UID: stranger}}, "a c", []string{"b.yaml belongs to uid 54321", "chown "}},
		"a folder of everyone":   {map[string]fs.FileMode{"below": 0o777}, nil, "a b", []string{"below may be written by", "chmod go-w "}},
		"a folder of another":    {nil, map[string]trust.Facts{"below": {Mode: fs.ModeDir | 0o755, UID: stranger}}, "a b", []string{"below belongs to uid 54321"}},
		"a sticky folder":        {map[string]fs.FileMode{"below": fs.ModeSticky | 0o777}, nil, "a b", []string{"below may be written by"}},
		"all of everyone's":      {map[string]fs.FileMode{".": 0o777}, nil, "", []string{"may be written by the group "}},
		"all of another":         {nil, map[string]trust.Facts{".": {Mode: fs.ModeDir | 0o755, UID: stranger}}, "", []string{"belongs to uid 54321"}},
		"all on a volume":        {nil, map[string]trust.Facts{".": {Mode: fs.ModeDir | 0o777, ReadOnly: true}}, "a b c", nil},
		"a folder on a volume":   {nil, map[string]trust.Facts{"below": {Mode: fs.ModeDir | 0o777, UID: stranger, ReadOnly: true}}, "a b c", nil},
		"a file on a volume":     {nil, map[string]trust.Facts{"b.yaml": {Mode: 0o666, ReadOnly: true}}, "a c", []string{"b.yaml may be written by"}},
		"above, of everyone":     {map[string]fs.FileMode{"..": 0o777}, nil, "", []string{"may be written by"}},
		"above, of another":      {nil, map[string]trust.Facts{"..": {Mode: fs.ModeDir | 0o755, UID: stranger}}, "", []string{"belongs to uid 54321"}},
		"above, a sticky folder": {map[string]fs.FileMode{"..": fs.ModeSticky | 0o777}, nil, "a b c", nil},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "policies")
			for name, file := range map[string]string{"a": "a.yaml", "b": "b.yaml", "c": "below/c.yaml"} {
				text := strings.NewReplacer("name: chat-prod", "name: "+name, "llm/chat-prod", "llm/"+name).Replace(good)
				path := filepath.Join(dir, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			for name, mode := range c.chmod {
				if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
			o := options
			system := owned{trust.Machine(), map[string]trust.Facts{}}
			for name, f := range c.given {
				system.others[filepath.Join(dir, name)] = f
			}
			o.Guard = trust.Guard{System: system}
			loaded := Load(dir, o)
			var in []string
			for _, name := range []string{"a", "b", "c"} {
				if loaded.Policies[name] != nil {
					in = append(in, name)
				}
			}
			if got := strings.Join(in, " "); got != c.in || loaded.Partial != (len(c.problems) > 0) || len(loaded.Problems) > 1 {
				t.Errorf("%q are in force, want %q; partial %t, problems %v", got, c.in, loaded.Partial, loaded.Problems)
			}
			for _, want := range c.problems {
				if len(loaded.Problems) == 0 || !strings.Contains(loaded.Problems[0].String(), want) {
					t.Errorf("problems %v, want %q", loaded.Problems, want)
				}
			}
		})
	}
}

// shadow is what lies in a file that only root may read.
const shadow = "root:$y$j9T$abcdefgh$hunter2hunter2:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nadm:hunter2:19000:0:\n"

// TestNoLineOfAnotherFile: what is no policy is never quoted, and no link leads to it.
func TestNoLineOfAnotherFile(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	file := filepath.Join(outside, "shadow")
	if err := errors.Join(os.WriteFile(file, []byte(shadow), 0o600), os.WriteFile(filepath.Join(outside, "p.yaml"), []byte(good), 0o600)); err != nil {
		t.Fatal(err)
	}
	for what, lay := range map[string]func(dir string) error{
		"a link to a file":   func(dir string) error { return os.Symlink(file, filepath.Join(dir, "p.yaml")) },
		"a relative link":    func(dir string) error { return os.Symlink("../other.yaml", filepath.Join(dir, "p.yaml")) },
		"a link to a folder": func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "below")) },
		"a link to a policy": func(dir string) error {
			return os.Symlink(filepath.Join(outside, "p.yaml"), filepath.Join(dir, "p.yaml"))
		},
		"a ..data that leads away": func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "..data")) },
		"a ..data upwards":         func(dir string) error { return os.Symlink("..", filepath.Join(dir, "..data")) },
		"a ..data into a folder": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "..x"), 0o700), os.Symlink(outside, filepath.Join(dir, "..x", "y")), os.Symlink("..x/y", filepath.Join(dir, "..data")))
		},
		"a ..data to a link": func(dir string) error {
			return errors.Join(os.Symlink(outside, filepath.Join(dir, "..x")), os.Symlink("..x", filepath.Join(dir, "..data")))
		},
		"a copy": func(dir string) error { return os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(shadow), 0o600) },
		"a copy, by name": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "p.yaml"), []byte("name: p\nadm*hunter2/x: y\n"+shadow), 0o600)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := lay(dir); err != nil {
				t.Fatal(err)
			}
			loaded := Load(dir, options)
			text := loaded.All().Error()
			if len(loaded.Policies) > 0 || len(loaded.Problems) == 0 || strings.Contains(text, "hunter2") || strings.Contains(text, "99999") {
				t.Errorf("%d policies, problems:\n%s", len(loaded.Policies), text)
			}
		})
	}
}

// switched is this machine, where a ConfigMap is replaced when a path is looked at for the first time.
type switched struct {
	trust.System
	path    string
	replace func()
}

func (s switched) Lstat(path string) (trust.Facts, error) {
	f, err := s.System.Lstat(path)
	if path == s.path {
		s.replace()
	}
	return f, err
}

// TestConfigMapReplaced: a ConfigMap that is replaced while it is read, after which the folder that it was is removed, is read
// again: no policy counts as one that cannot be read.
func TestConfigMapReplaced(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"..first", "..first/p.yaml"} {
		dir := t.TempDir()
		lay := func(generation string) error {
			path := filepath.Join(dir, generation)
			return errors.Join(os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(path, "p.yaml"), []byte(good), 0o600),
				os.Symlink(generation, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		}
		if err := errors.Join(lay("..first"), os.Symlink("..data/p.yaml", filepath.Join(dir, "p.yaml"))); err != nil {
			t.Fatal(err)
		}
		o, replaced := options, false
		o.Guard.System = switched{trust.Machine(), filepath.Join(dir, at), func() {
			if !replaced {
				replaced = true
				if err := errors.Join(lay("..second"), os.RemoveAll(filepath.Join(dir, "..first"))); err != nil {
					t.Error(err)
				}
			}
		}}
		loaded := Load(dir, o)
		if loaded.Policies["chat-prod"] == nil || len(loaded.Problems) > 0 || !replaced {
			t.Errorf("%s: the problems are %v", at, loaded.Problems)
		}
	}
}
