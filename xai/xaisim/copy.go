package xaisim

import (
	"maps"
	"slices"
	"time"
)

// Copy returns another simulator in the same state, with a clock of its own. Faults, hooks and observers are not copied.
// Nothing may be about to take effect: it panics otherwise, as it does for management keys with a rate limit.
func (s *Sim) Copy(now func() time.Time) *Sim {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > 0 {
		panic("xaisim: Copy while something is about to take effect")
	}
	random, err := s.source.MarshalBinary()
	if err != nil {
		panic(err)
	}
	c := New(s.o)
	if err := c.source.UnmarshalBinary(random); err != nil {
		panic(err)
	}
	c.o.Now = now
	c.deleted = slices.Clone(s.deleted)
	maps.Copy(c.calls, s.calls)
	for token, m := range s.management {
		if m.limit != nil {
			panic("xaisim: Copy of a management key with a rate limit")
		}
		c.management[token] = &manager{ManagementKey: m.ManagementKey, retry: m.retry}
	}
	for id, t := range s.teams {
		c.teams[id] = &team{id: t.id, billing: t.billing, blocked: t.blocked, throttled: t.throttled, events: slices.Clone(t.events)}
	}
	for id, k := range s.keys {
		c.keys[id] = k.copy(c)
	}
	for id, t := range s.teams {
		for _, k := range t.keys {
			c.teams[id].keys = append(c.teams[id].keys, c.keys[k.id])
		}
	}
	return c
}

// copy adds the key's credentials to the simulator that the copy is for.
func (k *key) copy(to *Sim) *key {
	c := *k
	c.team, c.acls, c.hours = to.teams[k.team.id], slices.Clone(k.acls), maps.Clone(k.hours)
	c.shown, c.refused, c.credentials = slices.Clone(k.shown), slices.Clone(k.refused), nil
	for i := range c.refused {
		c.refused[i] = slices.Clone(k.refused[i])
	}
	for _, cred := range k.credentials {
		same := *cred
		same.key, same.known = &c, slices.Clone(cred.known)
		c.credentials = append(c.credentials, &same)
		if cred == k.current {
			c.current = &same
		}
		to.secrets[same.plain] = &same
	}
	return &c
}
