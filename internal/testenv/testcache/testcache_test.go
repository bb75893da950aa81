package testcache

import (
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
)

// TestFetch: what fails twice is brought at last, and what fails forever is reported.
func TestFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("connection reset")
		for failures, want := range map[int]error{0: nil, 2: nil, 3: broken} {
			tries := 0
			err := Fetch(t.Context(), func() error {
				if tries++; tries <= failures {
					return broken
				}
				return nil
			})
			if !errors.Is(err, want) || tries != min(failures+1, 3) {
				t.Errorf("%d failures: %d tries, %v", failures, tries, err)
			}
		}
	})
}

// TestKeep: what many ask for at once is made once; what could not be made is made for the next caller.
func TestKeep(t *testing.T) {
	t.Setenv(variable, t.TempDir())
	failing := errors.New("no")
	if _, err := Keep("thing", func(path string) error {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Error(err)
		}
		return failing
	}); !errors.Is(err, failing) {
		t.Fatalf("got %v", err)
	}
	made := 0 // guarded by the cache's lock
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := Keep("thing", func(path string) error {
				made++
				if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("something is left there: %v", err)
				}
				return os.WriteFile(path, []byte("whole"), 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != "whole" {
				t.Errorf("got %q, %v", text, err)
			}
		})
	}
	all.Wait()
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}
