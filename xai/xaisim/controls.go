package xaisim

import (
	"maps"
	"slices"

	"golang.org/x/time/rate"

	"rotator/internal/secret"
)

// AddTeam adds an empty team; one that is there stays as it is.
func (s *Sim) AddTeam(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addTeam(id)
}

func (s *Sim) addTeam(id string) {
	if s.teams[id] == nil {
		s.teams[id] = &team{id: id}
	}
}

// AddManagementKey lets token act for k's teams, which are added when they are new.
func (s *Sim) AddManagementKey(token secret.Text, k ManagementKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.ID == "" {
		k.ID = s.uuid()
	}
	if k.Name == "" {
		k.Name = "management key"
	}
	for _, id := range k.Teams {
		s.addTeam(id)
	}
	m := &manager{ManagementKey: k}
	s.management[token.Reveal()] = m
	s.limit(m, s.o.RateLimit)
}

// NewManagementKey makes a management key for the teams: of team scope for one, of organization scope otherwise.
func (s *Sim) NewManagementKey(teams ...string) secret.Text {
	s.mu.Lock()
	token := secret.New("xai-token-" + s.alphanumerics(80))
	s.mu.Unlock()
	s.AddManagementKey(token, ManagementKey{Teams: teams, Organization: len(teams) != 1})
	return token
}

// RevokeManagementKey makes the token unknown.
func (s *Sim) RevokeManagementKey(token secret.Text) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.management, token.Reveal())
}

// SetRateLimit replaces the limit of every management key.
func (s *Sim) SetRateLimit(l RateLimit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.RateLimit = l
	for _, m := range s.management {
		s.limit(m, l)
	}
}

func (s *Sim) limit(m *manager, l RateLimit) {
	m.limit, m.retry = nil, l.RetryAfter
	if l.PerSecond > 0 || l.Burst > 0 {
		m.limit = rate.NewLimiter(rate.Limit(l.PerSecond), max(1, l.Burst))
	}
}

// SetBilling sets a team's account.
func (s *Sim) SetBilling(teamID string, b Billing) {
	s.withTeam(teamID, func(t *team) { t.billing = b })
}

// SetModels replaces the language models that there are, as xAI retires some and brings out others.
func (s *Sim) SetModels(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Models = names
}

// BlockTeam blocks a team, or no longer.
func (s *Sim) BlockTeam(teamID string, blocked bool) {
	s.withTeam(teamID, func(t *team) { t.blocked = blocked })
}

// ThrottleTeam answers each inference call of a team but whoami with 429, or no longer.
func (s *Sim) ThrottleTeam(teamID string, throttled bool) {
	s.withTeam(teamID, func(t *team) { t.throttled = throttled })
}

func (s *Sim) withTeam(id string, f func(*team)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addTeam(id)
	f(s.teams[id])
}

// Call is one call that reached the simulator, as hooks see it.
type Call struct {
	// Op is create, list, update, delete, propagation, rotate, team_models, endpoints, validate, audit or usage of the
	// Management API, whoami, models or chat of the inference API, and "" for an unknown route.
	Op     string
	ID     string // of the team or the key in the path
	Done   bool   // the call has had its effect (or none, by a fault); its answer is not yet sent
	Status int    // of the answer without faults, once done; 0 when there is none
}

// OnCall has f called before and after the effect of every call. A panic in it ends the call there: through Transport it
// reaches the caller, as a crash at that point.
func (s *Sim) OnCall(f func(Call)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, f)
}

func (s *Sim) tell(c Call) {
	s.mu.Lock()
	hooks := slices.Clone(s.hooks)
	s.mu.Unlock()
	for _, f := range hooks {
		f(c)
	}
}

// Calls returns how often each operation was called, refused and faulted calls included.
func (s *Sim) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}
