package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rotator/internal/jsonfield"
	"rotator/internal/secret"
	"rotator/stores"
)

// memory is the smallest store that keeps every promise. breaks, when set, names the one promise that it does not keep.
type memory struct {
	breaks string

	mu     sync.Mutex // guards all below
	docs   map[string]string
	staged map[string]secret.Text   // place and attempt → value
	former map[string][]secret.Text // place → former values, oldest first
	race   map[string]func()
	fences map[string]int // path → fences so far
}

var (
	_ stores.Store    = (*memory)(nil)
	_ stores.Checker  = (*memory)(nil)
	_ stores.Previous = (*memory)(nil)
	_ stores.Fencer   = (*memory)(nil)
	_ stores.Placer   = (*memory)(nil)
	_ stores.Warner   = (*memory)(nil)
)

// also begins the other name of each path.
const also = "also/"

func (m *memory) place(t stores.Target, attempt string) string {
	if m.breaks == "targets mix" {
		return attempt
	}
	return t.Path + "\x00" + t.Field + "\x00" + attempt
}

func (m *memory) Stage(ctx context.Context, t stores.Target, attempt string, value secret.Text) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil && m.breaks != "context ignored" {
		return err
	}
	m.staged[m.place(t, attempt)] = value
	if m.breaks == "stage writes" {
		m.docs[t.Path] = value.Reveal()
	}
	return nil
}

func (m *memory) Staged(ctx context.Context, t stores.Target, attempt string) (secret.Text, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.staged[m.place(t, attempt)]
	if err := ctx.Err(); err != nil {
		return secret.Text{}, err
	}
	if !ok {
		return secret.Text{}, stores.ErrNotFound
	}
	return value, nil
}

func (m *memory) Promote(ctx context.Context, t stores.Target, attempt string, value secret.Text, expected secret.Fingerprint) error {
	m.mu.Lock()
	fences := m.fences[t.Path]
	m.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.mu.Lock()
		doc, race := m.docs[t.Path], m.race[t.Path]
		delete(m.race, t.Path)
		m.mu.Unlock()
		current, err := parse(t, doc)
		switch {
		case err != nil && !errors.Is(err, stores.ErrNotFound):
			return err
		case current.Equal(value) && m.breaks != "not idempotent":
			return nil
		case !expected.Is(current) && m.breaks == "leak":
			return fmt.Errorf("%w: %s", stores.ErrConflict, value.Reveal()[20:30])
		case !expected.Is(current) && m.breaks != "expectation ignored":
			return stores.ErrConflict
		}
		next := value.Reveal()
		if t.Field != "" {
			out, err := jsonfield.Set([]byte(doc), t.Field, value.Reveal())
			if err != nil {
				return stores.ErrInvalid
			}
			if next = string(out); m.breaks == "numbers rounded" {
				next = strings.Replace(next, "123456789012345678901234567890", "1.2345678901234568e29", 1)
			}
		}
		if race != nil {
			race()
		}
		if done, err := m.write(t, doc, next, current, fences); done {
			return err
		}
	}
}

// write replaces the document if it is still what was read, and was not fenced since the promote began.
func (m *memory) write(t stores.Target, doc, next string, former secret.Text, fences int) (done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fences[t.Path] != fences {
		return true, stores.ErrConflict
	}
	if m.docs[t.Path] != doc && m.breaks != "lost update" {
		return false, nil
	}
	m.docs[t.Path] = next
	if m.breaks == "previous forgotten" {
		m.former[m.place(t, "")] = nil
	}
	m.former[m.place(t, "")] = append(m.former[m.place(t, "")], former)
	return true, nil
}

func (m *memory) Fence(ctx context.Context, t stores.Target) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.docs[t.Path] == "" {
		if m.breaks == "fence creates" {
			m.docs[t.Path] = "{}"
		}
		return stores.ErrNotFound
	}
	switch m.breaks {
	case "fence ignored":
		return nil
	case "fence once":
		m.fences[t.Path] = 1
		return nil
	case "fence discards":
		clear(m.staged)
	case "fence writes":
		m.docs[t.Path] = "{}"
	}
	m.fences[t.Path]++
	return nil
}

func (m *memory) Place(_ context.Context, t stores.Target) (string, error) {
	switch m.breaks {
	case "places mix":
		return "here", nil
	case "alias missed":
		return t.Path + "#" + t.Field, nil
	case "fields are one place":
		return strings.TrimPrefix(t.Path, also), nil
	}
	return strings.TrimPrefix(t.Path, also) + "#" + t.Field, nil
}

func (m *memory) Warnings(_ context.Context, targets []stores.Target) (all []stores.Warning, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.breaks == "warnings of nothing" {
		return []stores.Warning{{Text: "careful"}}, nil
	}
	for _, t := range targets {
		w := stores.Warning{Targets: []stores.Target{t}, Text: "careful"}
		doc, found := m.docs[t.Path]
		switch {
		case m.breaks == "warnings create" && !found:
			m.docs[t.Path] = "{}"
		case m.breaks == "warnings write":
			m.docs[t.Path] = "{}"
		case m.breaks == "warnings discard":
			clear(m.staged)
		case m.breaks == "warnings leak":
			w.Do = doc
		case m.breaks == "warnings of others":
			w.Targets[0].Path = "elsewhere"
		}
		all = append(all, w)
	}
	return all, nil
}

func (m *memory) Current(ctx context.Context, t stores.Target) (secret.Text, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return secret.Text{}, err
	}
	return parse(t, m.docs[strings.TrimPrefix(t.Path, also)])
}

func parse(t stores.Target, doc string) (secret.Text, error) {
	value := doc
	if t.Field != "" {
		var err error
		if value, err = jsonfield.Get([]byte(doc), t.Field); err != nil && !errors.Is(err, jsonfield.ErrNotFound) {
			return secret.Text{}, stores.ErrInvalid
		}
	}
	if value == "" {
		return secret.Text{}, stores.ErrNotFound
	}
	return secret.New(value), nil
}

func (m *memory) Discard(ctx context.Context, t stores.Target, attempt string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.breaks != "litter" {
		delete(m.staged, m.place(t, attempt))
	}
	return nil
}

func (m *memory) Check(context.Context, stores.Target) error { return nil }

func (m *memory) Previous(_ context.Context, t stores.Target, want secret.Fingerprint) (secret.Text, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, value := range slices.Backward(m.former[m.place(t, "")]) {
		if want.Is(value) {
			return value, nil
		}
	}
	return secret.Text{}, stores.ErrNotFound
}

func harness(breaks string) Harness {
	m := &memory{
		breaks: breaks, docs: map[string]string{}, staged: map[string]secret.Text{},
		former: map[string][]secret.Text{}, race: map[string]func(){}, fences: map[string]int{},
	}
	var n atomic.Int64
	path := func() string { return "place/" + strconv.FormatInt(n.Add(1), 10) + "/" }
	return Harness{
		Store:      m,
		Structured: func(*testing.T) stores.Target { return stores.Target{Path: path(), Field: "api_key"} },
		Whole:      func(*testing.T) stores.Target { return stores.Target{Path: path()} },
		Seed: func(_ *testing.T, t stores.Target, doc string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.docs[t.Path] = doc
		},
		Read: func(_ *testing.T, t stores.Target) (string, bool) {
			m.mu.Lock()
			defer m.mu.Unlock()
			doc, found := m.docs[t.Path]
			return doc, found
		},
		Leftovers: func(_ *testing.T, t stores.Target) []string {
			m.mu.Lock()
			defer m.mu.Unlock()
			var left []string
			for place := range m.staged {
				if strings.HasPrefix(place, t.Path) {
					left = append(left, place)
				}
			}
			return left
		},
		Race: func(_ *testing.T, t stores.Target, human func()) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.race[t.Path] = human
		},
		Delay: func(_ *testing.T, t stores.Target) Delayed {
			m.mu.Lock()
			defer m.mu.Unlock()
			sent, release := make(chan struct{}), make(chan struct{})
			m.race[t.Path] = func() { close(sent); <-release }
			return Delayed{Sent: sent, Release: func() { close(release) }}
		},
		Alias: func(_ *testing.T, t stores.Target) (stores.Target, bool) {
			t.Path = also + t.Path
			return t, true
		},
		CanStage: true, StagesEmpty: true, KeepsPrevious: true, HasCAS: true,
	}
}

// breaksVariable carries the name of a broken promise to this test's own program, run again.
const breaksVariable = "STORETEST_BREAKS"

func TestMemory(t *testing.T) {
	t.Parallel()
	Run(t, harness(os.Getenv(breaksVariable)))
}

// TestSuiteNotices: a store that breaks one promise does not pass.
func TestSuiteNotices(t *testing.T) {
	t.Parallel()
	if os.Getenv(breaksVariable) != "" {
		return
	}
	for breaks, noticed := range map[string]string{
		"context ignored":     "a canceled context changes nothing",
		"stage writes":        "stage leaves current alone",
		"targets mix":         "two targets do not mix",
		"not idempotent":      "promote what is staged",
		"leak":                "promote over another value conflicts",
		"expectation ignored": "promote over another value conflicts",
		"numbers rounded":     "promote what is staged",
		"lost update":         "another field changed during promote is kept",
		"previous forgotten":  "former values are kept",
		"litter":              "two attempts side by side",

		"fence ignored":        "a write sent before a fence fails after it",
		"fence once":           "a write sent before the second of two fences fails",
		"fence creates":        "a fence of nothing is not found",
		"fence discards":       "what is staged survives a fence",
		"fence writes":         "fences are harmless",
		"places mix":           "a target has one place",
		"alias missed":         "a target has one place",
		"fields are one place": "each field is a place of its own",

		"warnings of nothing": "warnings of nothing",
		"warnings create":     "warnings of an absent target",
		"warnings write":      "warnings change nothing",
		"warnings discard":    "warnings beside what is staged",
		"warnings leak":       "warnings change nothing",
		"warnings of others":  "warnings change nothing",
	} {
		t.Run(breaks, func(t *testing.T) {
			t.Parallel()
			again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemory$")
			again.Env = append(os.Environ(), breaksVariable+"="+breaks)
			out, err := again.CombinedOutput()
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
				t.Fatalf("the suite passed: %v", err)
			}
			if !strings.Contains(string(out), "/"+strings.ReplaceAll(noticed, " ", "_")+" ") {
				t.Errorf("not noticed by %q:\n%s", noticed, out)
			}
		})
	}
}
