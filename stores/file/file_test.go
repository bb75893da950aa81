package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"filippo.io/age"

	"rotator/internal/secret"
	"rotator/stores"
	"rotator/stores/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, harness(t, nil))
}

func TestEncryptedStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, harness(t, newIdentity(t)))
}

func newIdentity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// open returns a store in dir, encrypted when there is an identity.
func open(t *testing.T, dir string, id *age.X25519Identity) *Store {
	t.Helper()
	o := Options{Dir: dir}
	if id != nil {
		o.Recipients = []string{id.Recipient().String()}
		o.Identity = func(context.Context) (secret.Text, error) { return secret.New(id.String()), nil }
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func harness(t *testing.T, id *age.X25519Identity) storetest.Harness {
	dir := t.TempDir()
	s := open(t, dir, id)
	var mu sync.Mutex
	humans := map[string]func(){} // path → what happens before the store's last look; guarded by mu
	frozen := map[string]func(){} // path → what happens before the store next takes the lock; guarded by mu
	s.before = func(step, path string) error {
		var now func()
		mu.Lock()
		switch step {
		case "compare":
			now = humans[path]
			delete(humans, path)
		case "lock":
			now = frozen[path]
			delete(frozen, path)
		}
		mu.Unlock()
		if now != nil {
			now()
		}
		return nil
	}
	var n atomic.Int64
	path := func() string {
		i := n.Add(1)
		if i%2 == 0 {
			return "plain-" + strconv.FormatInt(i, 10)
		}
		return "кл ю'ч/鍵 \"x\"%2f/🔑*\\" + strconv.FormatInt(i, 10) + strings.Repeat("y", 150)
	}
	return storetest.Harness{
		Store:      s,
		Structured: func(*testing.T) stores.Target { return stores.Target{Path: path(), Field: "api \"key\" 鍵"} },
		Whole:      func(*testing.T) stores.Target { return stores.Target{Path: path()} },
		Seed:       func(t *testing.T, target stores.Target, doc string) { write(t, dir, target.Path, seal(t, id, doc)) },
		Read: func(t *testing.T, target stores.Target) (string, bool) {
			raw, err := os.ReadFile(filepath.Join(dir, target.Path))
			if errors.Is(err, fs.ErrNotExist) {
				return "", false
			}
			if err != nil {
				t.Fatal(err)
			}
			return unseal(t, id, raw), true
		},
		Leftovers: func(t *testing.T, target stores.Target) []string { return leftovers(t, dir, target) },
		Race: func(_ *testing.T, target stores.Target, human func()) {
			mu.Lock()
			defer mu.Unlock()
			humans[target.Path] = human
		},
		Delay: func(_ *testing.T, target stores.Target) storetest.Delayed {
			sent, release := make(chan struct{}), make(chan struct{})
			mu.Lock()
			defer mu.Unlock()
			frozen[target.Path] = func() { close(sent); <-release }
			return storetest.Delayed{Sent: sent, Release: func() { close(release) }}
		},
		CanStage: true, StagesEmpty: true, KeepsPrevious: true, HasCAS: true,
	}
}

// write makes a file as a human would.
func write(t *testing.T, dir, path, text string) {
	t.Helper()
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// leftovers names the staged values and the temporary files of one target, as ls would show them.
func leftovers(t *testing.T, dir string, target stores.Target) []string {
	t.Helper()
	p, err := locate(target)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	state, _ := os.ReadDir(filepath.Join(dir, stateFolder))
	for _, entry := range state {
		if strings.HasPrefix(entry.Name(), p.pathID) && !strings.HasSuffix(entry.Name(), ".former") && !strings.HasSuffix(entry.Name(), ".fence") {
			left = append(left, entry.Name())
		}
	}
	beside, _ := os.ReadDir(filepath.Dir(filepath.Join(dir, target.Path)))
	for _, entry := range beside {
		if strings.HasPrefix(entry.Name(), stateFolder) && strings.Contains(entry.Name(), p.pathID) {
			left = append(left, entry.Name())
		}
	}
	return left
}

// seal encrypts with age itself, and not through the store.
func seal(t *testing.T, id *age.X25519Identity, text string) string {
	t.Helper()
	if id == nil {
		return text
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// unseal decrypts with age itself. It fails the test when the file is not encrypted.
func unseal(t *testing.T, id *age.X25519Identity, raw []byte) string {
	t.Helper()
	if id == nil {
		return string(raw)
	}
	r, err := age.Decrypt(bytes.NewReader(raw), id)
	if err != nil {
		t.Fatalf("not an age file: %v", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// key returns a new value of an API key's form.
func key() secret.Text { return secret.New("xai-" + rand.Text() + rand.Text() + rand.Text()) }

// attempt is any attempt's id.
const attempt = "01938a3e-7a52-7c4e-9d4a-0242ac120002"

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("the error is %v, want %v", err, target)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	id := newIdentity(t)
	identity := func(context.Context) (secret.Text, error) { return secret.New(id.String()), nil }
	public := id.Recipient().String()
	for name, o := range map[string]Options{
		"no folder":                 {},
		"recipient only":            {Dir: "d", Recipients: []string{public}},
		"identity only":             {Dir: "d", Identity: identity},
		"an identity as recipient":  {Dir: "d", Recipients: []string{public, id.String()}, Identity: identity},
		"two recipients in one":     {Dir: "d", Recipients: []string{public + "\n" + public}, Identity: identity},
		"an empty recipient":        {Dir: "d", Recipients: []string{""}, Identity: identity},
		"a recipient with a mishap": {Dir: "d", Recipients: []string{public[:20]}, Identity: identity},
	} {
		_, err := New(o)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(strings.ToUpper(err.Error()), id.String()[15:30]) || strings.Contains(err.Error(), public[4:20]) {
			t.Errorf("%s: the error quotes its input: %v", name, err)
		}
	}
}

// TestPlainContent: what humans write by hand is read as they mean it, and what is written for consumers is exact.
func TestPlainContent(t *testing.T) {
	t.Parallel()
	dir, value := t.TempDir(), key()
	s := open(t, dir, nil)
	for _, tc := range []struct{ text, want string }{
		{"xai-old", "xai-old"}, {"xai-old\n", "xai-old"}, {"xai-old\r\n", "xai-old"}, {"xai-old\n\n", "xai-old\n"}, {" xai-old ", " xai-old "},
	} {
		target := stores.Target{Path: "key"}
		write(t, dir, "key", tc.text)
		got, err := s.Current(t.Context(), target)
		if err != nil || got.Reveal() != tc.want {
			t.Errorf("Current of %q = %q, %v", tc.text, got.Reveal(), err)
		}
		want(t, s.Promote(t.Context(), target, attempt, value, got.Fingerprint()), nil)
		if text, _ := os.ReadFile(filepath.Join(dir, "key")); string(text) != value.Reveal() {
			t.Errorf("the file holds %q, want exactly the key", text)
		}
	}
	for _, text := range []string{"", "\n"} {
		write(t, dir, "key", text)
		_, err := s.Current(t.Context(), stores.Target{Path: "key"})
		want(t, err, stores.ErrNotFound)
	}
}

// TestFieldVerbatim: in a shared file every byte outside our value stays.
func TestFieldVerbatim(t *testing.T) {
	t.Parallel()
	dir, old, value := t.TempDir(), key(), key()
	s, target := open(t, dir, nil), stores.Target{Path: "shared.json", Field: "key"}
	const layout = "{\r\n\t\"n\" : 1.50E+400, \"key\" :\"%\" ,\n  \"\\u0062\": \"\\/\\u00e9\" }\n\n"
	write(t, dir, target.Path, strings.Replace(layout, "%", old.Reveal(), 1))
	want(t, s.Promote(t.Context(), target, attempt, value, old.Fingerprint()), nil)
	if text, _ := os.ReadFile(filepath.Join(dir, target.Path)); string(text) != strings.Replace(layout, "%", value.Reveal(), 1) {
		t.Errorf("the file holds %q", text)
	}
}

// TestUnstorable: what would not be read back as it was written is refused.
func TestUnstorable(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	for _, tc := range []struct{ field, value string }{
		{"", ""}, {"", "xai\n"}, {"", "xai\r"}, {"f", ""}, {"f", "xai-\xff"}, {"", strings.Repeat("x", maxSize)},
	} {
		target := stores.Target{Path: "key", Field: tc.field}
		want(t, s.Stage(t.Context(), target, attempt, secret.New(tc.value)), stores.ErrInvalid)
		want(t, s.Promote(t.Context(), target, attempt, secret.New(tc.value), ""), stores.ErrInvalid)
		_, err := s.Current(t.Context(), target)
		want(t, err, stores.ErrNotFound)
	}
	for _, id := range []string{"", "../x", "a/b", "a.b", "é", strings.Repeat("a", 65)} {
		want(t, s.Stage(t.Context(), stores.Target{Path: "key"}, id, key()), stores.ErrInvalid)
	}
}

// TestFormerValues: the two newest are kept, and no more.
func TestFormerValues(t *testing.T) {
	t.Parallel()
	for _, id := range []*age.X25519Identity{nil, newIdentity(t)} {
		dir, target := t.TempDir(), stores.Target{Path: "key"}
		s, values := open(t, dir, id), []secret.Text{key(), key(), key(), key()}
		var before secret.Text
		for _, value := range values {
			want(t, s.Promote(t.Context(), target, attempt, value, before.Fingerprint()), nil)
			before = value
		}
		for i, kept := range []error{stores.ErrNotFound, nil, nil, stores.ErrNotFound} {
			_, err := s.Previous(t.Context(), target, values[i].Fingerprint())
			want(t, err, kept)
		}
		files, _ := filepath.Glob(filepath.Join(dir, stateFolder, "*.former"))
		if len(files) != 1 {
			t.Fatalf("former values in %q", files)
		}
		raw, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		unseal(t, id, raw) // fails when it is not encrypted
		if info, _ := os.Stat(files[0]); info.Mode().Perm() != 0o600 {
			t.Errorf("former values have mode %v", info.Mode())
		}
	}
}

// TestFormerValuesOfAnySize: what was in a target may be as large as a target can be, and the promotes after it go on.
func TestFormerValuesOfAnySize(t *testing.T) {
	t.Parallel()
	dir, target := t.TempDir(), stores.Target{Path: "key"}
	s, large := open(t, dir, newIdentity(t)), secret.New(strings.Repeat("x", maxSize))
	write(t, dir, target.Path, large.Reveal())
	before := large
	for range 2 {
		value := key()
		want(t, s.Promote(t.Context(), target, attempt, value, before.Fingerprint()), nil)
		before = value
	}
	_, err := s.Previous(t.Context(), target, large.Fingerprint())
	want(t, err, nil)
}
