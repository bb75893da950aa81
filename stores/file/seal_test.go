package file

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"rotator/internal/secret"
	"rotator/stores"
)

// TestMixedEncryption: a store that gets a recipient later reads what is plain, and encrypts it when it is replaced.
func TestMixedEncryption(t *testing.T) {
	t.Parallel()
	dir, id, old, value := t.TempDir(), newIdentity(t), key(), key()
	s, target := open(t, dir, id), stores.Target{Path: "key"}
	write(t, dir, "key", old.Reveal())
	want(t, s.Promote(t.Context(), target, attempt, value, old.Fingerprint()), nil)
	raw, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil || unseal(t, id, raw) != value.Reveal() {
		t.Errorf("the file does not decrypt to the key: %v", err)
	}

	var armored bytes.Buffer
	w := armor.NewWriter(&armored)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "key", armored.String())
	if got, err := s.Current(t.Context(), target); err != nil || !got.Equal(value) {
		t.Errorf("Current of an armored file: %v", err)
	}
}

// TestUnreadable: what cannot be decrypted is never taken for nothing, and never overwritten.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	id, other, value := newIdentity(t), newIdentity(t), key()
	sealed := seal(t, id, value.Reveal())
	broken := func(text secret.Text, err error) func(context.Context) (secret.Text, error) {
		return func(context.Context) (secret.Text, error) { return text, err }
	}
	for name, tc := range map[string]struct {
		content  string
		identity func(context.Context) (secret.Text, error) // nil: a store without encryption
	}{
		"no identity":         {sealed, nil},
		"another's identity":  {sealed, broken(secret.New(other.String()), nil)},
		"no such identity":    {sealed, broken(secret.Text{}, fs.ErrNotExist)},
		"garbage as identity": {sealed, broken(secret.New("AGE-SECRET-KEY-1CANARY"), nil)},
		"cut short":           {sealed[:len(sealed)-3], broken(secret.New(id.String()), nil)},
		"cut in its header":   {sealed[:40], broken(secret.New(id.String()), nil)},
		"changed":             {sealed[:len(sealed)-1] + "!", broken(secret.New(id.String()), nil)},
		"armor cut short":     {armor.Header + "\nYWdl", broken(secret.New(id.String()), nil)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, target := t.TempDir(), stores.Target{Path: "key"}
			s := open(t, dir, nil)
			if tc.identity != nil {
				s = open(t, dir, id)
				s.identity = tc.identity
			}
			write(t, dir, "key", tc.content)
			_, err := s.Current(t.Context(), target)
			want(t, err, stores.ErrInvalid)
			if errors.Is(err, stores.ErrNotFound) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the error is %v", err)
			}
			for _, expected := range []secret.Fingerprint{"", value.Fingerprint()} {
				want(t, s.Promote(t.Context(), target, attempt, key(), expected), stores.ErrInvalid)
			}
			want(t, s.Check(t.Context(), target), stores.ErrInvalid)
			if raw, _ := os.ReadFile(filepath.Join(dir, "key")); string(raw) != tc.content {
				t.Error("the file was overwritten")
			}
		})
	}
}

// TestNothingPlain: no file of an encrypted store shows a value.
func TestNothingPlain(t *testing.T) {
	t.Parallel()
	dir, id := t.TempDir(), newIdentity(t)
	s, target := open(t, dir, id), stores.Target{Path: "a/key", Field: "f"}
	values := []secret.Text{key(), key(), key()}
	want(t, s.Promote(t.Context(), target, attempt, values[0], ""), nil)
	want(t, s.Promote(t.Context(), target, attempt, values[1], values[0].Fingerprint()), nil)
	want(t, s.Stage(t.Context(), target, attempt, values[2]), nil)
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "lock" {
			return err
		}
		files++
		raw, err := os.ReadFile(path)
		for _, value := range values {
			if bytes.Contains(raw, []byte(value.Reveal()[8:20])) {
				t.Errorf("%s shows a value", path)
			}
		}
		if _, ageErr := age.Decrypt(bytes.NewReader(raw), id); ageErr != nil {
			t.Errorf("%s is not encrypted: %v", path, ageErr)
		}
		return err
	})
	if err != nil || files != 3 {
		t.Errorf("%d files, want the target, the staged and the former values: %v", files, err)
	}
}
