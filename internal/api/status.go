package api

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"rotator/policies"
	"rotator/rotation/due"
	"rotator/rotation/grant"
	"rotator/rotation/health"
	"rotator/rotation/journal"
)

// statusRow reports a policy as it is at now. needsHuman says which reasons wait for a human.
func statusRow(s journal.Summary, now time.Time, needsHuman func(journal.Reason) bool) StatusRow {
	p, spec := s.Policy, specOf(s.Policy)
	row := StatusRow{
		Policy: p.Name, Team: p.Team, Owner: text(p.Owner), Labels: spec.Labels, State: stateOf(s, needsHuman),
		Reason: text(string(p.Reason)), KeyID: text(p.KeyID), Fingerprint: text(p.Fingerprint),
		LiveSince: instant(p.LiveSince), NextRun: instant(nextRun(s)), Error: text(p.Error), SpecError: text(p.SpecError),
		Replica: text(s.Owner), ReplicaSince: instant(s.OwnedSince),
	}
	if row.Labels == nil {
		row.Labels = map[string]string{}
	}
	if row.NextRun != nil {
		row.NextCause = text(p.DueCause)
	}
	word, why := health.Shown(&p, s.Hold, now)
	row.Health, row.HealthReason = string(word), text(string(why))
	row.RotationState = text(phaseOf(s))
	if s.Rotation != nil {
		row.Rotation = text(s.Rotation.ID)
	}
	if age, ok := ageOf(p, now); ok {
		row.Age = seconds(age)
	}
	if spec.MaxAge > 0 {
		row.MaxAge = seconds(spec.MaxAge.Std())
	}
	if p.Reason != "" {
		row.WaitingUntil = instant(waitsUntil(s, now))
	}
	row.Wanted = wanted(s)
	row.ExpiresAt, row.KeyChanges = instant(p.KeyExpires), keyChanges(s, spec, now)
	if h := s.Hold; h.Active(now) {
		row.Hold = &HoldRow{Reason: h.Reason, By: h.By, At: instant(h.At), Until: instant(h.Until)}
	}
	return row
}

// keyChanges are where the keys that consumers read, or are about to, are not what the policy says, as xAI showed them last.
func keyChanges(s journal.Summary, spec *policies.Policy, now time.Time) []KeyChangeRow {
	rows := []KeyChangeRow{}
	for i := range s.Keys {
		k := &s.Keys[i]
		have, known := grant.Read(k.Listed)
		if !known || !grant.Follows(k) || k.State == journal.RetiringKey || k.Team != spec.Team || s.Policy.Leaving() || !s.Policy.RemovedAt.IsZero() {
			continue
		}
		v := grant.Compare(spec, k, grant.Facts{Have: have, Now: now})
		add := func(state, detail string) {
			rows = append(rows, KeyChangeRow{KeyID: k.ID, State: state, Detail: detail})
		}
		for _, c := range v.Changes {
			state := ChangePending
			if slices.Contains(strings.Fields(k.Refused), string(c.Part)) {
				state = ChangeRefused
			}
			add(state, c.Detail)
		}
		for _, text := range v.Drift {
			add(ChangeDrift, text)
		}
		if len(v.Later) > 0 {
			add(ChangeLater, "rights: keeps "+strings.Join(v.Later, ", "))
		}
	}
	return rows
}

// wanted is what people asked for and is not achieved yet.
func wanted(s journal.Summary) []WantedRow {
	rows := []WantedRow{}
	if p := s.Policy; !p.WantedAt.IsZero() && p.RemovedAt.IsZero() {
		rows = append(rows, WantedRow{What: string(journal.OrderRotate), Why: text(p.WantedWhy), By: text(p.WantedBy), Since: instant(p.WantedAt)})
	}
	for _, k := range s.Keys {
		off := k.State == journal.DisabledKey
		if k.Revoked() && !off && !k.State.Gone() {
			rows = append(rows, WantedRow{What: string(journal.OrderRevoke), KeyID: text(k.ID), Why: text(k.CompromisedWhy), By: text(k.CompromisedBy), Since: instant(k.RevokedAt)})
		}
	}
	if p := s.Policy; p.Leaving() {
		rows = append(rows, WantedRow{What: string(journal.OrderDecommission), Why: text(p.DecommissionWhy), By: text(p.DecommissionBy), Since: instant(p.DecommissionAt), Done: instant(p.DecommissionedAt)})
	}
	return rows
}

// stateOf is one word for the state of a policy.
func stateOf(s journal.Summary, needsHuman func(journal.Reason) bool) string {
	switch {
	case !s.Policy.RemovedAt.IsZero():
		return StateRemoved
	case needsHuman(s.Policy.Reason):
		return StateBlocked
	}
	return cmp.Or(phaseOf(s), StateIdle)
}

// phaseOf is the state of the rotation in flight; without one, what the old keys of the last one wait for: overlap while one
// works, soaking while one is off. "" when there is neither.
func phaseOf(s journal.Summary) string {
	if r := inFlight(s); r != nil {
		if r.Trigger == journal.ByRollback {
			return string(journal.RollingBack)
		}
		return string(r.State)
	}
	phase := journal.State("")
	for _, k := range s.Keys {
		switch {
		case k.State == journal.RetiringKey:
			return string(journal.Overlap)
		case k.State == journal.DisabledKey, k.State == journal.DeletingKey && !k.ExposedAt.IsZero():
			phase = journal.Soaking
		}
	}
	return string(phase)
}

// inFlight is the policy's rotation that is not over, or nil.
func inFlight(s journal.Summary) *journal.Rotation {
	if s.Rotation == nil || s.Rotation.State.Final() {
		return nil
	}
	return s.Rotation
}

// nextRun is when the policy's next rotation begins; the zero time when that is not known, or when there is none.
func nextRun(s journal.Summary) time.Time {
	if !s.Policy.RemovedAt.IsZero() || inFlight(s) != nil { // it depends on when this one goes live
		return time.Time{}
	}
	return s.Policy.DueAt
}

// waitsUntil is when what a policy waits for is over or tried again; the zero time when no one can say.
func waitsUntil(s journal.Summary, now time.Time) time.Time {
	if r := inFlight(s); r != nil && !r.CanaryFrom.IsZero() && r.CanaryOver.IsZero() {
		var live *journal.Key
		if i := slices.IndexFunc(s.Keys, func(k journal.Key) bool { return k.State == journal.LiveKey }); i >= 0 {
			live = &s.Keys[i]
		}
		return due.CanaryEnd(specOf(s.Policy), r, live)
	} else if r != nil && !r.TryAt.IsZero() {
		return r.TryAt
	}
	var first time.Time
	for _, k := range s.Keys {
		if k.Reason == s.Policy.Reason && !k.TryAt.IsZero() && (first.IsZero() || k.TryAt.Before(first)) {
			first = k.TryAt
		}
	}
	switch {
	case !first.IsZero():
		return first
	case s.Hold.Active(now):
		return s.Hold.Until
	}
	return s.Policy.NextRunAt
}

// ageOf is how old the policy's oldest key is; false when it has none.
func ageOf(p journal.Policy, now time.Time) (time.Duration, bool) {
	return max(0, now.Sub(p.OldestKey)), !p.OldestKey.IsZero()
}

// specOf is the policy as last loaded. One that a newer program wrote and this one cannot read counts as one that
// promises nothing: the rest of what is known of it is shown anyway.
func specOf(p journal.Policy) *policies.Policy {
	spec, err := policies.Decode([]byte(p.Spec))
	if err != nil {
		return &policies.Policy{}
	}
	return spec
}

// unretired is how many old keys of a policy should have been disabled, or deleted, by now.
func unretired(s journal.Summary, retire policies.Retire, now time.Time) (n int) {
	for _, k := range s.Keys {
		overlap, soak := retire.Overlap.Std(), retire.Soak.Std()
		if k.Compromised() {
			overlap = 0
		}
		due := k.RetireFrom.Add(overlap)
		switch {
		case k.RetireFrom.IsZero(): // never exposed, or shut off by hand
			continue
		case !k.DisabledAt.IsZero():
			due = k.DisabledAt.Add(soak)
		case k.NeverDisabled:
			due = due.Add(soak)
		}
		if !now.Before(due) {
			n++
		}
	}
	return n
}

func statusTarget(t journal.Target) StatusTarget {
	return StatusTarget{
		Target: t.TargetID.String(), Status: text(string(t.Status)), Holds: text(t.KeyID), ReadAt: instant(t.SeenAt),
		Left: !t.RemovedAt.IsZero(), Error: text(t.Error),
	}
}
