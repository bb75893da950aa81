package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rotator/internal/config"
	"rotator/policies"
	"rotator/rotation/inventory"
	"rotator/rotation/target"
	"rotator/stores"
	"rotator/xai"
)

// Finder makes proposals of what it finds at xAI and in targets.
type Finder struct {
	environment *environment
	config      *config.Config
	keys        []*foundKey
	proposals   []*Proposal
}

// foundKey is a live key of a team.
type foundKey struct {
	team  string
	key   xai.Key
	found bool // a target holds it
}

// Proposal is a policy for the targets that hold one key, or for an empty target.
type Proposal struct {
	Policy policies.Policy
	Text   string // the policy as a file

	keyID string // "" for an empty target
}

// Finder makes a finder, which has not asked anything yet.
func (s Setup) Finder(ctx context.Context, c *config.Config) (*Finder, error) {
	h := noHooks()
	h.agent = s.userAgent()
	e := newEnvironment(ctx, c, nil, h, s.Log, made{})
	if err := e.err(); err != nil {
		return nil, err
	}
	return &Finder{environment: e, config: c}, nil
}

// Proposals are those made so far.
func (f *Finder) Proposals() []*Proposal { return f.proposals }

// UnheldKey is a live key that no visited target holds.
type UnheldKey struct{ ID, Name, Team string }

// Unheld are the keys listed that no visited target holds.
func (f *Finder) Unheld() (keys []UnheldKey) {
	for _, k := range f.keys {
		if !k.found {
			keys = append(keys, UnheldKey{k.key.ID, k.key.Name, k.team})
		}
	}
	return keys
}

// List lists the live keys of all teams that the rotator did not make.
func (f *Finder) List(ctx context.Context) error {
	for _, name := range f.environment.names {
		t, err := f.environment.Team(ctx, name)
		if err != nil {
			return err
		}
		list, err := t.Keys.ListKeys(ctx, t.ID)
		if err != nil {
			return fmt.Errorf("team %s: %w", name, err)
		}
		for _, k := range list.Keys {
			if !k.Disabled && !strings.HasPrefix(k.Name, inventory.Prefix) {
				f.keys = append(f.keys, &foundKey{team: name, key: k})
			}
		}
	}
	slices.SortFunc(f.keys, func(x, y *foundKey) int { return strings.Compare(x.key.Name+"/"+x.key.ID, y.key.Name+"/"+y.key.ID) })
	return nil
}

// Visit reads a target and adds it to the proposal that it belongs to.
func (f *Finder) Visit(ctx context.Context, t policies.Target) error {
	s, ok := f.environment.Store(t.Store)
	if !ok {
		return usage(fmt.Errorf("--target %s: no store is named %s", t, t.Store), "Name one of those in "+f.config.File+".")
	}
	value, err := s.Current(ctx, storeTarget(t))
	switch {
	case errors.Is(err, stores.ErrNotFound):
		return f.propose(t, nil)
	case err != nil:
		return failed(fmt.Errorf("read %s: %w", t, err), "")
	case !target.LooksLikeKey(value):
		return failed(fmt.Errorf("%s holds something that is not an API key", t), "Name the target, and the field of it, that holds the key.")
	}
	who, err := f.environment.teams[f.environment.names[0]].probe.WhoAmI(ctx, value)
	if err != nil {
		return failed(fmt.Errorf("ask the key in %s who it is: %w", t, err), "A key that xAI does not accept is no use to its consumers either: empty the target, or name another one.")
	}
	i := slices.IndexFunc(f.keys, func(k *foundKey) bool { return k.key.ID == who.KeyID })
	if i < 0 {
		return failed(fmt.Errorf("%s holds key %s, which no configured team lists as a key that someone else made", t, who.KeyID), "It is of another team, or the rotator has it already: see `rotator status`.")
	}
	f.keys[i].found = true
	return f.propose(t, f.keys[i])
}

// propose adds a target to the policy of its key, or to one of its own when it is empty.
func (f *Finder) propose(t policies.Target, k *foundKey) error {
	if k != nil {
		for _, p := range f.proposals {
			if p.keyID == k.key.ID {
				p.Policy.Targets = append(p.Policy.Targets, t)
				return nil
			}
		}
	}
	p := &Proposal{Policy: policies.Policy{
		Name: f.name(t.Path), Schedule: "0 3 1 * *", Jitter: policies.Duration(10 * time.Minute), MaxAge: policies.Duration(45 * 24 * time.Hour),
		Retire: policies.Retire{Overlap: policies.Duration(24 * time.Hour), Soak: policies.Duration(24 * time.Hour)},
	}}
	p.Policy.Targets = []policies.Target{t}
	if k != nil {
		p.keyID = k.key.ID
		p.Policy.Name, p.Policy.Team, p.Policy.Adopt = f.name(k.key.Name), k.team, policies.Adopt{On: true}
		p.Policy.Key = policies.KeySpec{ACLs: slices.Sorted(slices.Values(k.key.ACLs)), QPS: k.key.QPS, QPM: k.key.QPM, TPM: k.key.TPM}
	} else if p.Policy.Team = f.environment.names[0]; len(f.environment.names) > 1 {
		return usage(fmt.Errorf("%s is empty, and there are several teams", t), "Write the policy by hand: only you know which team it is for.")
	}
	f.proposals = append(f.proposals, p)
	return nil
}

// name is a policy's name that no other proposal has.
func (f *Finder) name(text string) string {
	name := slug(text)
	for n := 2; slices.ContainsFunc(f.proposals, func(p *Proposal) bool { return p.Policy.Name == name }); n++ {
		name = fmt.Sprintf("%.60s-%d", slug(text), n)
	}
	return name
}

// Complete fills in what a target cannot say, writes the policies down, and shows that they would load.
func (f *Finder) Complete(ctx context.Context) error {
	for _, p := range f.proposals {
		if err := f.rights(ctx, &p.Policy); err != nil {
			return err
		}
		data, err := yaml.Marshal(p.Policy)
		if err != nil {
			return err
		}
		p.Text = string(data)
		o := f.config.PolicyOptions()
		if _, problems := policies.Parse(p.Policy.Name+".yaml", data, o); len(problems) > 0 {
			return usage(fmt.Errorf("what was found makes no policy: %w", problems), "Write the policy by hand.")
		}
	}
	return nil
}

// rights gives a policy without ACLs those to chat with the team's first model, and chooses the verification that the
// ACLs allow.
func (f *Finder) rights(ctx context.Context, p *policies.Policy) error {
	model := ""
	for _, acl := range p.Key.ACLs {
		if name, ok := strings.CutPrefix(acl, "api-key:model:"); ok && model == "" {
			model = name
		}
	}
	if model == "" && len(p.Key.ACLs) == 0 || model == "*" {
		t, err := f.environment.Team(ctx, p.Team)
		if err != nil {
			return err
		}
		models, err := f.environment.teams[p.Team].speaker.management.Models(ctx, t.ID)
		if err != nil {
			return failed(err, "")
		}
		if len(models) > 0 {
			model = models[0].Name
		}
	}
	if len(p.Key.ACLs) == 0 {
		p.Key.ACLs = []string{"api-key:endpoint:chat", "api-key:model:" + model}
	}
	chats := slices.Contains(p.Key.ACLs, "api-key:endpoint:chat") || slices.Contains(p.Key.ACLs, "api-key:endpoint:*")
	if chats && model != "" && model != "*" {
		p.Verify = policies.Verify{Method: policies.MethodChat, Model: model}
	} else {
		p.Verify = policies.Verify{Method: policies.MethodWhoami}
	}
	return nil
}

// slug makes a policy's name of any text.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := strings.TrimLeft(b.String(), "._-")
	if s = strings.TrimRight(s[:min(len(s), 63)], "-"); s == "" {
		return "policy"
	}
	return s
}
