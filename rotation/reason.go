package rotation

import (
	"context"
	"errors"
	"fmt"

	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// The reasons why a policy waits. They are a closed list: what each means and what to do about it stands in [Reasons].
const (
	Held             journal.Reason = "held"
	WaitOverlap      journal.Reason = "overlap"
	WaitSoak         journal.Reason = "soak"
	WaitIdle         journal.Reason = "old_key_in_use"
	WaitPropagation  journal.Reason = "propagation"
	WaitProof        journal.Reason = "proof"
	WaitQuarantine   journal.Reason = "late_disable"
	StoreUnavailable journal.Reason = "store_unavailable"
	XAIUnavailable   journal.Reason = "xai_unavailable"
	RateLimited      journal.Reason = "rate_limited"
	Billing          journal.Reason = "billing"
	Internal         journal.Reason = "internal"

	StoreDenied      journal.Reason = "store_denied"
	TargetInvalid    journal.Reason = "target_invalid"
	TargetMissing    journal.Reason = "target_missing"
	ForeignValue     journal.Reason = "foreign_value"
	DifferentKeys    journal.Reason = "different_keys"
	AdoptedElsewhere journal.Reason = "adopted_elsewhere"
	DriftFound       journal.Reason = "drift"
	NoTargets        journal.Reason = "no_targets"
	XAIRefused       journal.Reason = "xai_refused"
	ManagementKey    journal.Reason = "management_key"
	ConfigMissing    journal.Reason = "config_missing"
	TooManyAttempts  journal.Reason = "unresolved_attempts"
	PropagationStuck journal.Reason = "propagation_stuck"
	WrongIdentity    journal.Reason = "wrong_identity"
	AmbiguousName    journal.Reason = "ambiguous_name"
	TargetHoldsKey   journal.Reason = "target_holds_key"
	UnreadTarget     journal.Reason = "unread_target"
	NotProved        journal.Reason = "successor_not_proved"
	ClockSkew        journal.Reason = "clock_skew"
	NoOldValue       journal.Reason = "old_value_gone"
	OldKeyBad        journal.Reason = "old_key_refused"
	RestoredJournal  journal.Reason = "restored_journal"
)

// ReasonInfo is one line of the list of reasons.
type ReasonInfo struct {
	Reason journal.Reason
	// Human: trying again alone is unlikely to help. It is tried all the same, and clears itself.
	Human bool
	Means string
	Do    string
}

// Reasons is the closed list.
var Reasons = []ReasonInfo{
	{Held, false, "A human holds the policy: nothing begins, nothing is disabled or deleted.", "rotator release POLICY"},
	{WaitOverlap, false, "The successor is live; the old key still works until the overlap is over.", "Nothing."},
	{WaitSoak, false, "The old key is off and will be deleted after the soak.", "Nothing; rotator revive POLICY turns it on again."},
	{WaitIdle, false, "The overlap is over, but the old key was used lately (retire.require_idle), or its use is not known.", "Find the consumer that still reads the old key; after retire.max_wait it is told as an event."},
	{WaitPropagation, false, "Not every cluster of xAI knows the new key yet.", "Nothing."},
	{WaitProof, false, "The key did not prove itself yet, and is not proved bad either.", "Nothing."},
	{WaitQuarantine, false, "A rollback waits until no disable of the old key can still be on its way.", "Nothing."},
	{StoreUnavailable, false, "A store did not answer, or not understandably.", "Look at the store; it is tried again by itself."},
	{XAIUnavailable, false, "xAI did not answer, or not understandably.", "Nothing; it is tried again by itself."},
	{RateLimited, false, "xAI or a store asked for a slower pace.", "Nothing."},
	{Billing, false, "The team has no credits or reached its spending limit: a key cannot be proved.", "Settle the team's billing; nothing is aborted or deleted because of it."},
	{Internal, false, "The program met a state that it does not understand.", "Report it with the log lines around it."},

	{StoreDenied, true, "A store refuses our login or our rights.", "rotator check names the missing right, rotator check --permissions prints all that are needed; see the store's audit log."},
	{TargetInvalid, true, "A target cannot work as it is (a symlink, a field in a text that is not JSON, a secret that another system rotates).", "rotator check names what is wrong with it."},
	{TargetMissing, true, "A target that consumers read has vanished.", "Restore it, or rotator resolve POLICY --target T --overwrite to write it anew."},
	{ForeignValue, true, "A target held something that is not an API key when it was first read.", "rotator resolve POLICY --target T --overwrite|--leave|--drop"},
	{DifferentKeys, true, "The targets of the policy hold different live keys.", "rotator resolve POLICY --target T --overwrite for those that may be replaced."},
	{AdoptedElsewhere, true, "A target holds a key that belongs to another policy, another Rotator or another team.", "Give the key to one policy only: rotator keys adopt POLICY takes over the key of a Rotator that is no more; rotator resolve POLICY --target T --overwrite replaces it here and leaves the key alone."},
	{DriftFound, true, "Somebody changed a target: it holds a value that is neither ours nor the baseline.", "rotator resolve POLICY --target T --overwrite|--leave|--drop"},
	{NoTargets, true, "Every target of the policy was left or dropped by a human.", "Edit the policy's targets, or resolve one with --overwrite."},
	{XAIRefused, true, "xAI refuses the request itself: ACLs that the team does not have, a limit, a name.", "rotator check; compare key.acls with rotator plan."},
	{ManagementKey, true, "xAI refuses the team's management key: it was revoked, lacks a right, or belongs to another team.", "Put a valid management key where the configuration refers to (rotator check --permissions prints what it must be allowed); it is read again by itself, but a credential of systemd only when the service starts anew."},
	{ConfigMissing, true, "The configuration lost a store or a team that this rotation still needs.", "Put it back and reload."},
	{TooManyAttempts, true, "Several creates ended without a known outcome; no more keys are made until they are settled.", "It clears when the quarantine is over; if not, see rotator keys."},
	{PropagationStuck, true, "A cluster of xAI does not know the new key after a long time.", "rotator resolve POLICY --propagation passes over it, if the key works where you need it."},
	{WrongIdentity, true, "xAI says that the value is another key than the one recorded.", "Do not promote by hand; rotator abort POLICY, and report it to xAI."},
	{AmbiguousName, true, "More than one key bears the name of one attempt; none is touched.", "Compare rotator keys with the audit log of the team and delete the strangers."},
	{TargetHoldsKey, true, "A target still holds the key that is to be retired.", "Move that target's consumers, then rotator resolve, or rotator forget for a target that is no more."},
	{UnreadTarget, true, "A target that may hold the key to be retired cannot be read: one that was left, dropped or removed, or one of another policy. The old key stays.", "Make the target that the error names readable, or rotator forget it if it is no more and no policy names it."},
	{NotProved, true, "The successor could not be proved from what the targets hold: the old key stays.", "See the error; rotator rollback POLICY goes back."},
	{ClockSkew, true, "This machine's clock and xAI's differ by more than five minutes: nothing is disabled or deleted.", "Set the clock."},
	{NoOldValue, true, "No store can give the old key's value back.", "Put the value into one target by hand, or rotator rotate POLICY --supersede makes a new key."},
	{OldKeyBad, true, "The old key, to be rolled back to, is refused by xAI; consumers keep the new one.", "rotator rotate POLICY --supersede makes a new key."},
	{RestoredJournal, true, "The journal was restored from a backup, or PostgreSQL failed over and may have lost its last commits: keys and targets are only compared until all match.", "rotator status shows which target does not match; rotator keys adopt POLICY takes over the key that it holds, or resolve it."},
}

// NeedsHuman reports whether the reason waits for a human.
func NeedsHuman(r journal.Reason) bool {
	for _, i := range Reasons {
		if i.Reason == r {
			return i.Human
		}
	}
	return false
}

// stuck is an error with the reason why a policy waits.
type stuck struct {
	reason journal.Reason
	err    error
}

func (s *stuck) Error() string { return s.err.Error() }
func (s *stuck) Unwrap() error { return s.err }

func stuckf(r journal.Reason, format string, args ...any) error {
	return &stuck{r, fmt.Errorf(format, args...)}
}

// reasonOf says why a step did not go on.
func reasonOf(err error) journal.Reason {
	var s *stuck
	if errors.As(err, &s) {
		return s.reason
	}
	switch {
	case errors.Is(err, stores.ErrDenied):
		return StoreDenied
	case errors.Is(err, stores.ErrInvalid):
		return TargetInvalid
	case errors.Is(err, stores.ErrConflict):
		return DriftFound
	}
	var x *xai.Error
	if !errors.As(err, &x) {
		return StoreUnavailable
	}
	switch x.Class {
	case xai.ClassRateLimited:
		return RateLimited
	case xai.ClassBilling:
		return Billing
	case xai.ClassUnauthenticated, xai.ClassForbidden:
		return ManagementKey
	case xai.ClassInvalid, xai.ClassACL, xai.ClassModel, xai.ClassRoute:
		return XAIRefused
	case xai.ClassKeyUnknown, xai.ClassKeyDisabled:
		return WaitProof
	}
	return XAIUnavailable
}

// gone reports an error that ends the turn without another word: the claim was lost, or the process is stopping. What
// went well meanwhile still counts.
func gone(ctx context.Context, err error) bool {
	return errors.Is(err, journal.ErrLost) || err != nil && ctx.Err() != nil
}
