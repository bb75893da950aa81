package rotation

import (
	"slices"
	"strings"

	"rotator/rotation/grant"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai"
)

// accept records, and reports, that xAI shows parts of a key as its policy wants them.
func accept(r *run, k *journal.Key, v grant.Verdict, have grant.Grant, parts ...grant.Part) {
	if len(parts) == 0 {
		return
	}
	grant.Accept(k, v, have, parts...)
	if slices.Contains(parts, grant.Rights) {
		respec(r, k, have)
	}
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = string(p)
	}
	r.tell(journal.KeyUpdated, "key_id", k.ID, "parts", strings.Join(names, ", "), "grant", have.Words())
	r.log.Info("key updated", "key_id", k.ID, "parts", strings.Join(names, ", "))
}

// respec records what a key may do now, so that it proves itself by a call that it may make.
func respec(r *run, k *journal.Key, have grant.Grant) {
	spec := specOf(k)
	if spec == nil {
		r.acls[k.Ref] = have.ACLs
		return
	}
	spec.Key.ACLs = have.ACLs
	if covers(have.ACLs, r.policy.Verify) {
		spec.Verify = r.policy.Verify
	}
	k.Spec = string(spec.Canonical())
}

// showsNow records what xAI shows of a key.
func showsNow(k *journal.Key, have xai.Key) grant.Grant {
	g := inventory.GrantOf(have)
	if was, ok := grant.Read(k.Listed); ok && len(g.ACLs) == 0 { // not every answer says it
		g.ACLs = was.ACLs
	}
	k.Listed, k.ExpiresAt = g.String(), have.Expiry()
	return g
}

// refuseUpdate notes that xAI does not change a part of a key. It is reported once; the next key has it.
func refuseUpdate(r *run, k *journal.Key, c grant.Change, why string) {
	if !slices.Contains(strings.Fields(k.Refused), string(c.Part)) {
		k.Refused = strings.TrimSpace(k.Refused + " " + string(c.Part))
		if k.State == journal.CandidateKey && notUpdated(k) { // another one is made instead
			return
		}
		r.tell(journal.KeyUpdateRefused, "key_id", k.ID, "part", string(c.Part), "wanted", c.Detail, "error", why)
	}
	k.UpdateReason, k.UpdateError = reason.UpdateRefused, c.Detail+": "+why
	replaced := k.State != journal.RetiringKey && !r.rec.Policy.Leaving()
	if c.Part == grant.Expiry && !c.Edited && k.Refused == string(grant.Expiry) && replaced { // by a rotation, in time
		k.UpdateReason = reason.ExpiryFixed
	}
}

// notUpdated reports whether xAI refused to give a key other rights or limits.
func notUpdated(k *journal.Key) bool {
	parts := strings.Fields(k.Refused)
	return slices.Contains(parts, string(grant.Rights)) || slices.Contains(parts, string(grant.Limits))
}

// tellDrift reports, once for each change, that someone changed a key at xAI. While an update of ours may explain it, nothing is reported.
func tellDrift(r *run, k *journal.Key, v grant.Verdict) {
	if len(lateUpdates(r, k)) > 0 {
		return
	}
	drift := slices.Clone(v.Drift)
	for _, c := range v.Changes {
		if !c.Edited && !c.Moved {
			drift = append(drift, c.Detail)
		}
	}
	text := strings.Join(drift, "; ")
	if text == k.Drift {
		return
	}
	if k.Drift = text; text == "" {
		return
	}
	set := ""
	if r.policy.Key.Enforce {
		set = "true"
	}
	r.tell(journal.KeyDrifted, "key_id", k.ID, "drift", text, "set_right", set)
}

// restUpdate notes that a key is as it is to be.
func restUpdate(r *run, k *journal.Key, have grant.Grant) {
	if k.Asked == "" || !grant.Settled(k) {
		grant.Begin(k, r.policy, have)
	}
	clearUpdate(k)
}

// clearUpdate notes that nothing is to be updated, and nothing failed.
func clearUpdate(k *journal.Key) {
	k.Drift, k.UpdateFor, k.Refused, k.UpdateAt, k.UpdateTries, k.UpdateReason, k.UpdateError = "", "", "", noTime, 0, "", ""
}

// failUpdate notes a failure, after which the update is tried again.
func failUpdate(r *run, k *journal.Key, err error) Outcome {
	k.UpdateTries++
	k.UpdateFor, k.UpdateReason, k.UpdateError = wordFor(r, k), reason.Of(err), err.Error()
	k.UpdateAt = r.now().Add(max(r.backoff(k.UpdateTries), retryAfter(err)))
	return Outcome{Err: err, Wait: k.UpdateAt}
}

// standingUpdate is what a key waits for that is not as its policy wants it.
func standingUpdate(k *journal.Key) Outcome {
	switch k.UpdateReason {
	case reason.UpdateRefused:
		return Outcome{Wait: k.UpdateAt, Reason: k.UpdateReason, Says: "key " + k.ID + ": " + k.UpdateError}
	case "", reason.ExpiryFixed:
		if k.Drift != "" {
			return Outcome{Wait: k.UpdateAt, Reason: reason.KeyDrift, Says: "key " + k.ID + ": " + k.Drift}
		}
		return Outcome{Wait: k.UpdateAt}
	}
	return stands(k.UpdateAt, k.UpdateReason, k.UpdateError)
}
