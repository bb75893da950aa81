package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"rotator/internal/config"
	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/xai"
)

// environment is the stores and teams of one configuration: what rotations act upon. A reload makes a new one.
type environment struct {
	stores map[string]stores.Store
	teams  map[string]*team
	names  []string // of the configuration's teams, sorted

	freezes []policies.Freeze
	folders config.Policies
	mode    config.Mode

	// problems are why stores and teams of the configuration could not be made. Each costs only the policies that name it.
	problems policies.Problems
	kept     map[string]bool // "stores.NAME", "teams.NAME": made from an earlier configuration, since the present one's could not be made
}

var _ rotation.Environment = (*environment)(nil)

// hooks are how an environment names itself to xAI, and who hears of the calls that it makes.
type hooks struct {
	agent string
	store observer
	xai   func(ctx context.Context, op, class string, took time.Duration)
	pacer journal.Pacer // keeps the pace toward xAI for all replicas; nil: this process alone uses the management keys
}

// noHooks is for commands that count nothing.
func noHooks() hooks {
	return hooks{
		store: func(context.Context, string, string, string, time.Duration) {},
		xai:   func(context.Context, string, string, time.Duration) {},
	}
}

func (h hooks) observeXAI(ctx context.Context, op string, class xai.Class, took time.Duration) {
	if class == "" {
		class = "ok"
	}
	h.xai(ctx, op, string(class), took)
}

// made is an environment to go on from, and the configuration that it was made from.
type made struct {
	*environment
	config *config.Config
	reuse  bool // what was made from the same configuration is taken over; else it is made again, and reads its secrets again
}

// newEnvironment makes stores and clients. Nothing is called yet. known says which id a team had when it was last seen: it
// keeps it. What cannot be made is one of the environment's problems: what was made before goes on in its place, as long as
// its kind is the same, and else it is not there.
func newEnvironment(ctx context.Context, c *config.Config, known map[string]string, h hooks, log *slog.Logger, before made) *environment {
	w := &environment{stores: make(map[string]stores.Store), teams: make(map[string]*team), names: slices.Sorted(maps.Keys(c.Teams)), kept: make(map[string]bool), freezes: c.Frozen(), folders: c.Policies, mode: c.Mode}
	if before.environment == nil {
		before.environment, before.config = &environment{}, &config.Config{}
	}
	fail := func(what string, err error, kept bool) {
		p := policies.Problem{File: c.File, What: what + ": " + err.Error(), Want: "it fixed; its policies wait until then"}
		if kept {
			p.Want = "it fixed; the one from before stays in use until then"
		}
		w.kept[what] = kept
		w.problems = append(w.problems, p)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		old, ok := before.stores[name]
		if ok && before.reuse && !before.kept["stores."+name] {
			w.stores[name] = old
			continue
		}
		s, err := newStore(ctx, name, c.Stores[name], log)
		if err == nil {
			w.stores[name] = observed{s, name, h.store}
			continue
		}
		if ok = ok && before.config.Stores[name].Type == c.Stores[name].Type; ok {
			w.stores[name] = old
		}
		fail("stores."+name, err, ok)
	}
	probe, err := xai.NewInference(xai.InferenceOptions{URL: c.XAI.InferenceURL, TLS: xai.TLSFiles(c.XAI.TLS), UserAgent: h.agent, Observe: h.observeXAI})
	if err != nil {
		fail("xai.inference_url", err, false)
	}
	speakers := map[string]*speaker{} // reference → its speaker: pace is kept per management key
	for _, name := range w.names {
		t, old := c.Teams[name], before.teams[name]
		if old != nil && (err != nil || before.reuse && !before.kept["teams."+name]) {
			w.teams[name], w.kept["teams."+name] = old, err != nil
			continue
		}
		if err != nil {
			continue // told already: no team can be made
		}
		s := speakers[t.ManagementKey.String()]
		if s == nil {
			speaks, err := newSpeaker(c.XAI, t.ManagementKey, h, log)
			if err != nil {
				if old != nil {
					w.teams[name] = old
				}
				fail("teams."+name, err, old != nil)
				continue
			}
			s = speaks
			speakers[t.ManagementKey.String()] = s
		}
		if t.ID != "" {
			s.teams = append(s.teams, t.ID)
		}
		id := t.ID
		if id == "" {
			id = known[name]
		}
		w.teams[name] = &team{name: name, given: t.ID != "", id: id, speaker: s, probe: probe}
	}
	return w
}

// err is nil where all stores and teams of the configuration are there.
func (w *environment) err() error { return asError(w.problems) }

// Store implements rotation.Environment.
func (w *environment) Store(name string) (stores.Store, bool) {
	s, ok := w.stores[name]
	if ok && w.Observes() {
		return readOnlyStore{s.(observed)}, true
	}
	return s, ok
}

// Teams implements rotation.Environment.
func (w *environment) Teams() []string { return w.names }

// Stores implements rotation.Environment.
func (w *environment) Stores() []string { return slices.Sorted(maps.Keys(w.stores)) }

// Freezes implements rotation.Environment.
func (w *environment) Freezes() []policies.Freeze { return w.freezes }

// AdoptedWithin implements rotation.Environment.
func (w *environment) AdoptedWithin(file string) (within func(file string) bool) {
	return w.folders.AdoptedWithin(file)
}

// Observes implements rotation.Environment.
func (w *environment) Observes() bool { return w.mode == config.Observe }

// Team implements rotation.Environment.
func (w *environment) Team(ctx context.Context, name string) (rotation.Team, error) {
	t := w.teams[name]
	if t == nil {
		if slices.Contains(w.names, name) {
			return rotation.Team{}, reason.Errorf(reason.ConfigMissing, "team %s cannot be made from the configuration; see the log", name)
		}
		return rotation.Team{}, reason.Errorf(reason.ConfigMissing, "team %s is not in the configuration", name)
	}
	id, err := t.identify(ctx)
	if err != nil {
		return rotation.Team{}, err
	}
	for _, other := range w.teams {
		if other != t && other.knownID() == id {
			return rotation.Team{}, refuse("same_team", "teams %s and %s are one team at xAI: name it once", min(name, other.name), max(name, other.name))
		}
	}
	m := t.speaker.management
	if w.Observes() {
		return rotation.Team{ID: id, Keys: readOnlyKeys{m}, About: m, Probe: t.probe}, nil
	}
	return rotation.Team{ID: id, Keys: m, About: m, Probe: t.probe}, nil
}

// run keeps the logins of stores alive until ctx ends.
func (w *environment) run(ctx context.Context) {
	var working sync.WaitGroup
	for _, s := range w.stores {
		if k, ok := s.(observed).Store.(keeper); ok {
			working.Go(func() { _ = k.Run(ctx) }) // it logs its failures, and ends with ctx only
		}
	}
	working.Wait()
}

// refuse is an error that counts as xAI's refusal of the management key: it waits for a human.
func refuse(code, format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), &xai.Error{Op: xai.OpValidate, Class: xai.ClassForbidden, Code: code})
}

// team is a team of the configuration.
type team struct {
	name    string
	given   bool // the configuration says its id
	speaker *speaker
	probe   *xai.Inference

	mu sync.Mutex
	id string // guarded by mu; "" until xAI said it
}

func (t *team) knownID() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.id
}

// identify returns the team's id, and shows that the present management key speaks for that team and no other.
func (t *team) identify(ctx context.Context) (string, error) {
	mk, err := t.speaker.who(ctx)
	if err != nil {
		return "", fmt.Errorf("team %s: %w", t.name, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case mk.TeamID == "" && !t.given:
		return "", refuse("id_needed", "team %s: its management key does not say its team, as that of an organization: say teams.%s.id in the configuration", t.name, t.name)
	case mk.TeamID != "" && t.id != "" && mk.TeamID != t.id:
		return "", refuse("other_team", "team %s: the management key belongs to another team than %s", t.name, t.id)
	case t.id == "":
		t.id = mk.TeamID
	}
	return t.id, nil
}

// speaker is a management key and its client. The key is read once, and again after xAI answered 401 to it. Another key
// than before is validated before it is used for anything; where xAI does not offer that, a list of a team's keys shows that
// it speaks for the team.
type speaker struct {
	ref        config.Reference
	teams      []string        // ids that the configuration says
	management *xai.Management // uses the key in force
	validate   func(context.Context, secret.Text) (xai.ManagementKey, error)

	mu      sync.Mutex
	key     secret.Text       // in force; guarded by mu, as all below
	about   xai.ManagementKey // of key
	refused bool              // xAI answered 401: the reference is read again
}

func newSpeaker(to config.XAI, ref config.Reference, h hooks, log *slog.Logger) (*speaker, error) {
	s := &speaker{ref: ref}
	options := xai.ManagementOptions{URL: to.ManagementURL, TLS: xai.TLSFiles(to.TLS), UserAgent: h.agent, Observe: func(ctx context.Context, op string, class xai.Class, took time.Duration) {
		h.observeXAI(ctx, op, class, took)
		if class == "" || class == xai.ClassUnauthenticated {
			s.mu.Lock()
			s.refused = class != ""
			s.mu.Unlock()
		}
	}}
	s.validate = func(ctx context.Context, candidate secret.Text) (xai.ManagementKey, error) {
		o := options
		o.Observe = h.observeXAI
		o.Pace = nil // whose it is, the answer says
		o.Key = func(context.Context) (secret.Text, error) { return candidate, nil }
		m, err := xai.NewManagement(o)
		if err != nil {
			return xai.ManagementKey{}, err
		}
		mk, err := m.Validate(ctx)
		if errors.Is(err, xai.ErrNotOffered) {
			return xai.ManagementKey{}, s.confirm(ctx, m)
		}
		return mk, err
	}
	options.Key = func(ctx context.Context) (secret.Text, error) {
		key, _, err := s.current(ctx)
		return key, err
	}
	if h.pacer != nil {
		options.Pace = &sharedPace{journal: h.pacer, name: s.limited, log: log}
	}
	var err error
	s.management, err = xai.NewManagement(options)
	return s, err
}

// confirm lists the keys of the teams that the configuration names, until one list comes.
func (s *speaker) confirm(ctx context.Context, m *xai.Management) error {
	err := refuse("id_needed", "xAI does not say whose the management key is: say teams.NAME.id in the configuration")
	for _, id := range s.teams {
		if _, err = m.ListKeys(ctx, id); err == nil {
			return nil
		}
	}
	return err
}

// limited names who xAI's limit is for: the team, or the organization of a key that has no team.
func (s *speaker) limited() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := cmp.Or(s.about.TeamID, s.about.ScopeID)
	if who == "" && len(s.teams) > 0 {
		who = s.teams[0]
	}
	return who
}

// who says which key is in force.
func (s *speaker) who(ctx context.Context) (xai.ManagementKey, error) {
	_, about, err := s.current(ctx)
	return about, err
}

// current returns the key in force. The lock is not held while xAI is asked about a new one; two that ask at once agree.
func (s *speaker) current(ctx context.Context) (secret.Text, xai.ManagementKey, error) {
	s.mu.Lock()
	key, about, refused := s.key, s.about, s.refused
	s.mu.Unlock()
	if !key.Empty() && !refused {
		return key, about, nil
	}
	candidate, err := s.ref.Read(ctx)
	if err != nil {
		return secret.Text{}, about, refuse("key_unavailable", "%v", err)
	}
	if candidate.Equal(key) {
		return key, about, nil // the same as was refused: xAI may have changed its mind, and the next call shows it
	}
	now, err := s.validate(ctx, candidate)
	if err != nil {
		return secret.Text{}, about, err
	}
	if about.TeamID != "" && now.TeamID != "" && now.TeamID != about.TeamID {
		return secret.Text{}, about, refuse("other_team", "the management key that %s holds now belongs to another team than the one before", s.ref)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.about, s.refused = candidate, now, false
	return candidate, now, nil
}
