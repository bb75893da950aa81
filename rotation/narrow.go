package rotation

import (
	"strings"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai"
)

// Narrowing returns the ACLs that the consumers of a key lose when the policy replaces it; nil when there are none. Of a key
// that the rotator made for this policy it returns nil: there, narrower ACLs are an edit of the policy.
func Narrowing(p *policies.Policy, k xai.Key) []string {
	if of, _, ok := keyName(k.Name); ok && (of == p.Name || of == p.RenamedFrom) {
		return nil
	}
	return policies.Uncovered(p.Key.ACLs, k.ACLs)
}

// NarrowingText says that a key may do more than the policy's next one, and what a human can do about it.
func NarrowingText(keyID string, lost []string) string {
	return "key " + keyID + " may do more than key.acls: its consumers would lose " + strings.Join(lost, ", ") +
		" at the first promotion, without an overlap; add them to key.acls, or set allow_narrowing: true"
}

// narrows refuses to adopt a key whose consumers would lose rights with it. Those consumers read the target: they get the
// narrower key with the promotion, and the old key's overlap does not help them.
func narrows(r *run, have xai.Key, at journal.TargetID) error {
	lost := Narrowing(r.policy, have)
	if len(lost) == 0 || r.policy.AllowNarrowing {
		return nil
	}
	return reason.Errorf(reason.Narrowing, "%s: %s", at, NarrowingText(have.ID, lost))
}
