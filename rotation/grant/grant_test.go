package grant_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rotator/policies"
	"rotator/rotation/grant"
	"rotator/rotation/journal"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var rights = []string{"api-key:endpoint:chat", "api-key:endpoint:embed", "api-key:model:*", "api-key:model:grok-4"}

// spec draws what a policy asks for.
func spec(t *rapid.T, name string) policies.KeySpec {
	number := func(what string) *int {
		if n := rapid.IntRange(0, 2).Draw(t, name+" "+what); n > 0 {
			return &n
		}
		return nil
	}
	s := policies.KeySpec{QPS: number("qps"), QPM: number("qpm"), Enforce: rapid.Bool().Draw(t, name+" enforce")}
	if n := number("tpm"); n != nil {
		text := string(rune('0' + *n))
		s.TPM = &text
	}
	s.ACLs = rapid.SliceOfNDistinct(rapid.SampledFrom(rights), 1, len(rights), rapid.ID[string]).Draw(t, name+" rights")
	s.ExpiresAfter = policies.Duration(rapid.SampledFrom([]time.Duration{0, 0, 30 * 24 * time.Hour, 60 * 24 * time.Hour}).Draw(t, name+" expiry"))
	return s
}

// shows is what xAI shows of a key that was made as asked.
func shows(s policies.KeySpec, name string) grant.Grant {
	g := grant.Grant{Name: name, ACLs: slices.Sorted(slices.Values(s.ACLs)), QPS: s.QPS, QPM: s.QPM, TPM: s.TPM, Complete: true}
	if s.ExpiresAfter > 0 {
		g.Expires = noon.Add(s.ExpiresAfter.Std())
	}
	return g
}

// apply makes a change as xAI does.
func apply(g grant.Grant, c grant.Change) grant.Grant {
	switch c.Part {
	case grant.Rights:
		g.ACLs = c.To.ACLs
	case grant.Limits:
		g.QPS, g.QPM, g.TPM = c.To.QPS, c.To.QPM, c.To.TPM
	case grant.Name:
		g.Name = c.To.Name
	case grant.Expiry:
		g.Expires = c.To.Expires
	}
	return g
}

// TestComparisonsEnd: whatever was asked, is wanted and is shown, what Compare says to send, sent and accepted, leaves nothing to
// send; no consumer loses a right but by allow_narrowing or by enforce; and what someone changed stays known until it is set right.
func TestComparisonsEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		asked, want := spec(t, "asked"), spec(t, "wanted")
		have := shows(asked, "k")
		foreign := rapid.IntRange(0, 3).Draw(t, "meddling")
		nine := 9
		switch foreign {
		case 1:
			have.QPS = &nine
		case 2:
			have.ACLs = append(slices.Clone(have.ACLs), "api-key:endpoint:image")
		case 3:
			have.Name = "another"
		}
		p := &policies.Policy{Name: "p", Key: want, AllowNarrowing: rapid.Bool().Draw(t, "narrowing"), Retire: policies.Retire{Overlap: policies.Duration(time.Hour)}}
		shown := shows(asked, "")
		k := &journal.Key{
			ID: "1", Name: "k", Origin: rapid.SampledFrom([]journal.Origin{journal.OfAttempt, journal.OfAdoption}).Draw(t, "origin"),
			State: rapid.SampledFrom([]journal.KeyState{journal.CandidateKey, journal.LiveKey, journal.RetiringKey}).Draw(t, "state"),
			Asked: grant.Ask(asked), Shown: shown.String(), CreatedAt: noon.Add(-time.Hour),
		}
		facts := grant.Facts{Have: have, Now: noon, Ours: rapid.IntRange(0, 3).Draw(t, "ours") == 0, Frozen: rapid.IntRange(0, 3).Draw(t, "frozen") == 0}
		v := grant.Compare(p, k, facts)
		before := have
		for _, c := range v.Changes {
			have = apply(have, c)
		}
		for _, c := range v.Changes {
			lost := policies.Uncovered(c.To.ACLs, before.ACLs)
			if c.Part == grant.Rights && len(lost) > 0 && k.State != journal.CandidateKey {
				if given := policies.Uncovered([]string{"api-key:endpoint:image"}, lost); len(given) > 0 && (!p.AllowNarrowing || facts.Frozen) {
					t.Fatalf("consumers lose %q", given)
				}
				if !slices.Equal(lost, c.Loses) {
					t.Fatalf("says that %q are lost, and %q are", c.Loses, lost)
				}
			}
		}
		facts.Have = have
		then := grant.Compare(p, k, facts)
		for _, c := range then.Changes {
			t.Fatalf("again: %+v", c)
		}
		var parts []grant.Part
		for _, c := range v.Changes {
			parts = append(parts, c.Part)
		}
		grant.Accept(k, then, have, append(parts, then.Edited...)...)
		facts.Ours = false
		end := grant.Compare(p, k, facts)
		if len(end.Changes) > 0 || len(end.Edited) > 0 {
			t.Fatalf("at rest: %+v", end)
		}
		meddled := foreign == 1 && have.QPS == &nine || foreign == 2 && slices.Contains(have.ACLs, "api-key:endpoint:image") || foreign == 3 && have.Name == "another"
		if meddled && len(end.Drift) == 0 && k.State != journal.RetiringKey {
			t.Fatalf("what someone changed is forgotten: %+v", have)
		}
		if len(v.Later) == 0 && len(v.Waiting) == 0 && !meddled && k.State != journal.RetiringKey && k.Origin == journal.OfAttempt {
			if left := policies.Uncovered(p.Key.ACLs, have.ACLs); len(left) > 0 && len(policies.Uncovered([]string{"api-key:endpoint:image"}, left)) > 0 {
				t.Fatalf("%q are left", left)
			}
			if have.Expires.IsZero() != (want.ExpiresAfter == 0) {
				t.Fatalf("expires %s", have.Expires)
			}
		}
		if missing := policies.Uncovered(have.ACLs, want.ACLs); len(missing) > 0 {
			t.Fatalf("%q are missing", missing)
		}
	})
}

// TestTexts: a grant is read as it was written, and the same grant has one text.
func TestTexts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := shows(spec(t, "is"), "name")
		back, ok := grant.Read(g.String())
		slices.Reverse(g.ACLs)
		if !ok || back.String() != g.String() {
			t.Fatalf("%s is read as %s", g, back)
		}
	})
	if _, ok := grant.Read(""); ok {
		t.Error("nothing is read")
	}
	if _, ok := grant.Read("{"); ok {
		t.Error("half a grant is read")
	}
}

// TestAcceptKeepsWhatSomeoneElseChanged: while one limit is changed, someone changes another one at xAI. The answer shows both; what
// was not asked for is not taken for ours.
func TestAcceptKeepsWhatSomeoneElseChanged(t *testing.T) {
	t.Parallel()
	one, four, tpm := 1, 4, "2"
	p := &policies.Policy{Name: "chat", Key: policies.KeySpec{ACLs: []string{"api-key:endpoint:chat"}, QPS: &one, TPM: &tpm, Enforce: true}}
	was := policies.KeySpec{ACLs: p.Key.ACLs, QPS: &one}
	have := grant.Grant{ACLs: was.ACLs, QPS: &one}
	k := &journal.Key{ID: "k", State: journal.LiveKey, Asked: grant.Ask(was), Shown: have.String()}
	if v := grant.Compare(p, k, grant.Facts{Have: have}); len(v.Changes) != 1 || !slices.Equal(v.Changes[0].Limits, []string{"tpm"}) {
		t.Fatalf("changes %+v, want tpm alone", v.Changes)
	}
	have.QPS, have.TPM = &four, &tpm
	grant.Accept(k, grant.Compare(p, k, grant.Facts{Have: have}), have, grant.Limits)
	v := grant.Compare(p, k, grant.Facts{Have: have})
	if len(v.Changes) != 1 || !slices.Equal(v.Changes[0].Limits, []string{"qps"}) || v.Changes[0].Edited {
		t.Errorf("then changes %+v, want qps set right", v.Changes)
	}
}

// TestAcceptSome: xAI changes one limit and keeps another. The one that it changed is ours, and no change by someone else, also after
// the policy goes back.
func TestAcceptSome(t *testing.T) {
	t.Parallel()
	one, three := 1, 3
	was := policies.KeySpec{ACLs: []string{"api-key:endpoint:chat"}, QPS: &one, QPM: &one}
	have := grant.Grant{ACLs: was.ACLs, QPS: &one, QPM: &one}
	k := &journal.Key{ID: "k", State: journal.LiveKey, Asked: grant.Ask(was), Shown: have.String()}
	p := &policies.Policy{Name: "chat", Key: policies.KeySpec{ACLs: was.ACLs, QPS: &three, QPM: &three}}
	have.QPM = &three
	grant.AcceptSome(k, grant.Compare(p, k, grant.Facts{Have: have}), have)
	if v := grant.Compare(p, k, grant.Facts{Have: have}); len(v.Drift) > 0 || len(v.Changes) != 1 || !slices.Equal(v.Changes[0].Limits, []string{"qps"}) {
		t.Errorf("drift %q and changes %+v, want qps alone", v.Drift, v.Changes)
	}
	p.Key = was
	if v := grant.Compare(p, k, grant.Facts{Have: have}); len(v.Drift) > 0 || len(v.Changes) != 1 || !slices.Equal(v.Changes[0].Limits, []string{"qpm"}) {
		t.Errorf("back again: drift %q and changes %+v, want qpm alone", v.Drift, v.Changes)
	}
}
