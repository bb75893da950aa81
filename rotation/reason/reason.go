// Package reason says why a policy waits, and what to do about it. The list is closed: [All] is the source of
// docs/reasons.md.
package reason

import (
	"errors"
	"fmt"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// The reasons. What each means and what to do about it is in [All].
const (
	Held             journal.Reason = "held"
	WaitOverlap      journal.Reason = "overlap"
	WaitSoak         journal.Reason = "soak"
	WaitIdle         journal.Reason = "old_key_in_use"
	WaitWindow       journal.Reason = "window"
	Frozen           journal.Reason = "freeze"
	ObserveMode                     = journal.ObserveMode
	WaitPropagation  journal.Reason = "propagation"
	WaitProof        journal.Reason = "proof"
	WaitQuarantine   journal.Reason = "late_effect"
	WaitCanary       journal.Reason = "canary"
	WaitLost         journal.Reason = "key_lost"
	WaitAbsence      journal.Reason = "absence"
	WaitPlace        journal.Reason = "place_taken"
	StoreLags        journal.Reason = "store_lags"
	StoreUnavailable journal.Reason = "store_unavailable"
	XAIUnavailable   journal.Reason = "xai_unavailable"
	RateLimited      journal.Reason = "rate_limited"
	Billing          journal.Reason = "billing"
	Internal         journal.Reason = "internal"
	KeyDrift         journal.Reason = "key_drift"
	UpdateRefused    journal.Reason = "update_refused"
	ExpiryFixed      journal.Reason = "expiry_fixed"

	StoreDenied      journal.Reason = "store_denied"
	TargetInvalid    journal.Reason = "target_invalid"
	TargetMissing    journal.Reason = "target_missing"
	ForeignValue     journal.Reason = "foreign_value"
	DifferentKeys    journal.Reason = "different_keys"
	AdoptedElsewhere journal.Reason = "adopted_elsewhere"
	DriftFound       journal.Reason = "drift"
	NoTargets        journal.Reason = "no_targets"
	XAIRefused       journal.Reason = "xai_refused"
	VerifyModel      journal.Reason = "verify_model"
	ManagementKey    journal.Reason = "management_key"
	ConfigMissing    journal.Reason = "config_missing"
	TooManyAttempts  journal.Reason = "unresolved_attempts"
	PropagationStuck journal.Reason = "propagation_stuck"
	WrongIdentity    journal.Reason = "wrong_identity"
	AmbiguousName    journal.Reason = "ambiguous_name"
	Unexplained      journal.Reason = "unexplained_key"
	TargetHoldsKey   journal.Reason = "target_holds_key"
	NotProved        journal.Reason = "successor_not_proved"
	ClockSkew        journal.Reason = "clock_skew"
	NoOldValue       journal.Reason = "old_value_gone"
	OldKeyBad        journal.Reason = "old_key_refused"
	RestoredJournal  journal.Reason = "restored_journal"
	OtherInstall     journal.Reason = "other_installation"
	OtherPolicy      journal.Reason = "other_policy"
	OtherRotator     journal.Reason = "other_rotator"
	SamePlace        journal.Reason = "same_place"
	UnreadTarget     journal.Reason = "unread_target"
	NamesCut         journal.Reason = "names_cut"
	AbsenceUnproved  journal.Reason = "absence_unproved"
	ExpiryTooShort   journal.Reason = "expiry_too_short"
	DueUnderHold     journal.Reason = "due_under_hold"
	RetireOverdue    journal.Reason = "retirement_overdue"
	Narrowing        journal.Reason = "narrowing"
	NotOffered       journal.Reason = "not_offered"
)

// Info is one line of the list of reasons.
type Info struct {
	Reason journal.Reason
	// Human: trying again alone is unlikely to help. It is tried anyway, and clears itself.
	Human bool
	Means string
	Do    string
}

// All is the closed list.
var All = []Info{
	{Held, false, "A human holds the policy: nothing begins, nothing is disabled or deleted.", "rotator release POLICY"},
	{WaitOverlap, false, "The successor is live; the old key still works until the overlap is over.", "Nothing."},
	{WaitSoak, false, "The old key is off and will be deleted after the soak.", "Nothing; rotator revive POLICY turns it on again."},
	{WaitIdle, false, "The overlap is over, but the old key was used lately (retire.require_idle), or its use is not known. The key of a policy that is being decommissioned waits so too.", "Find the consumer that still reads the key; after retire.max_wait it is reported as an event. Of a decommission: rotator decommission POLICY --accept-outage --why W does not wait."},
	{WaitWindow, false, "A scheduled rotation is due outside of the policy's windows.", "Nothing; it begins when the next window opens, and rotator rotate POLICY begins it now."},
	{Frozen, false, "A freeze in rotator.yaml is in force: no rotation begins, and no old key is disabled or deleted.", "Nothing. A failing key, one that expires, and a compromised one are replaced anyway; max_age wins too, unless the freeze is hard."},
	{ObserveMode, false, "The configuration says mode: observe. Keys and targets are read and compared, and nothing is changed at xAI or in a store.", "Set mode: rotate in rotator.yaml, then rotator reload; rotator plan shows what happens then."},
	{WaitPropagation, false, "Not every cluster of xAI knows the new key yet.", "Nothing."},
	{WaitProof, false, "The key did not prove itself yet, and is not proved bad either.", "Nothing."},
	{WaitQuarantine, false, "An earlier change without an answer may still take effect; the next one waits until it cannot.", "Nothing."},
	{WaitLost, false, "A new key's value was lost before it was staged; the next create waits a while.", "Nothing; if it happens again and again, see the events."},
	{WaitAbsence, false, "A target held the old key and does not show it any more. That is believed after a minute; of a target that is empty, after a day.", "Nothing."},
	{WaitPlace, false, "Another policy writes another field of the same secret at the moment; they write one after the other.", "Nothing."},
	{WaitCanary, false, "One target has the new key. The others get it once its consumers use it, or when canary.for is over.", "Nothing. rotator rollback POLICY takes the key back; without canary in the policy's file the others get it now."},
	{StoreLags, false, "A store answers reads with a state that is older than our last write.", "Nothing; reads catch up within seconds."},
	{StoreUnavailable, false, "A store did not answer, or not understandably.", "Look at the store; it is tried again by itself."},
	{XAIUnavailable, false, "xAI did not answer, or not understandably.", "Nothing; it is tried again by itself."},
	{RateLimited, false, "xAI or a store asked for a slower pace.", "Nothing."},
	{Billing, false, "The team has no credits or reached its spending limit: a key cannot be proved.", "Settle the team's billing; nothing is aborted or deleted because of it."},
	{Internal, false, "The program met a state that it does not understand.", "Report it with the log lines around it."},

	{KeyDrift, false, "Someone changed rights, limits, expiry or name of a key at xAI: they are not what its policy says.", "rotator status POLICY says what changed. Change it back at xAI, change the policy, or set key.enforce: true, which sets it right."},
	{UpdateRefused, false, "xAI does not change rights, limits, expiry or name of the key in use. The next key has them as the policy says.", "rotator status POLICY says what was refused. rotator rotate POLICY makes a key that has them now; rotator check --permissions says what the management key must be allowed. It is tried again every hour."},
	{ExpiryFixed, false, "xAI does not move the expiry of a key on. A rotation replaces it in time.", "Nothing."},

	{StoreDenied, true, "A store refuses our login or our rights.", "rotator check names the missing right, rotator check --permissions prints all that are needed; see the store's audit log."},
	{TargetInvalid, true, "A target cannot work as it is (a symlink, a field in a text that is not JSON, a secret that another system rotates).", "rotator check names what is wrong with it."},
	{TargetMissing, true, "A target that consumers read has vanished.", "Restore it, or rotator resolve POLICY --target T --overwrite to write it again."},
	{ForeignValue, true, "A target held something that is not an API key when it was first read.", "rotator resolve POLICY --target T --overwrite|--leave|--drop"},
	{DifferentKeys, true, "The targets of the policy hold different live keys.", "rotator resolve POLICY --target T --overwrite for those that may be replaced."},
	{AdoptedElsewhere, true, "A target holds a key that belongs to another policy, another Rotator or another team.", "Give the key to one policy only: rotator keys adopt POLICY takes over the key of a Rotator that is no more; rotator resolve POLICY --target T --overwrite replaces it here and leaves the key alone."},
	{DriftFound, true, "Someone changed a target: it holds a value that is neither ours nor the baseline.", "rotator resolve POLICY --target T --overwrite|--leave|--drop"},
	{NoTargets, true, "Every target of the policy was left or dropped by a human.", "Edit the policy's targets, or resolve one with --overwrite."},
	{XAIRefused, true, "xAI refuses the request itself: ACLs that the team does not have, a limit, a name.", "rotator check; compare key.acls with rotator plan."},
	{VerifyModel, true, "xAI does not offer the model that a key is to prove itself with: it was retired, or the team or the key may not use it. Consumers keep the key in use.",
		"Name another model in verify.model, which key.acls must allow; a rotation whose new key no consumer has read starts again by itself. rotator check tries the model."},
	{ManagementKey, true, "xAI refuses the team's management key: it was revoked, lacks a right, or belongs to another team.", "Put a valid management key where the configuration refers to (rotator check --permissions prints what it must be allowed); it is read again by itself, but a credential of systemd only when the service restarts."},
	{ConfigMissing, true, "The configuration lacks a store or a team that this policy needs, or it cannot be made from it.", "rotator status names what is wrong with the configuration; fix it, then rotator reload."},
	{TooManyAttempts, true, "Several creates ended without a known outcome; no more keys are made until they are settled.", "It clears when the quarantine is over; if not, see rotator keys."},
	{PropagationStuck, true, "A cluster of xAI does not know the new key after a long time.", "rotator resolve POLICY --propagation passes over it, if the key works where you need it."},
	{Unexplained, true, "No event of the audit trail tells how this rotator got a key that it was about to disable or delete: its row was put into the journal, or changed. The key is not touched.",
		"rotator audit verify says what was changed; restore a backup from before it, or delete the key at xAI yourself."},
	{WrongIdentity, true, "xAI says that the value is another key than the one recorded.", "Do not promote by hand; rotator abort POLICY, and report it to xAI."},
	{AmbiguousName, true, "More than one key has the name of one attempt; none is touched.", "Compare rotator keys with the audit log of the team and delete the strangers."},
	{TargetHoldsKey, true, "A target still holds the key that is to be retired.", "Move that target's consumers, then rotator resolve, or rotator forget for a target that is no more."},
	{NotProved, true, "The successor could not be proved from what the targets hold: the old key stays.", "See the error; rotator rollback POLICY goes back."},
	{ClockSkew, true, "This machine's clock and xAI's differ by more than five minutes: nothing is disabled or deleted.", "Set the clock."},
	{NoOldValue, true, "No store can give the old key's value back.", "Put the value into one target by hand, or rotator rotate POLICY --supersede makes a new key."},
	{OldKeyBad, true, "The old key, to be rolled back to, is refused by xAI; consumers keep the new one.", "rotator rotate POLICY --supersede makes a new key."},
	{RestoredJournal, true, "The journal was restored from a backup, or PostgreSQL failed over and may have lost its last commits: keys and targets are only compared until all match.", "rotator status shows which target does not match; rotator keys adopt POLICY takes over the key that it holds, or resolve it."},
	{OtherInstall, true, "The journal belongs to another installation: it is only compared.", "rotator state claim --moved --why W if the original is gone; --copy if this is a copy beside it."},
	{OtherPolicy, true, "A target holds a key of another policy.", "rotator resolve POLICY --target T --overwrite|--leave|--drop"},
	{OtherRotator, true, "A target holds a key that another Rotator made: its journal is not this one.", "Stop the other one, then rotator keys adopt; or rotator resolve POLICY --target T --overwrite|--leave|--drop"},
	{SamePlace, true, "Two policies name one place under different names.", "Leave it to one of them: edit the other's targets."},
	{UnreadTarget, true, "A target could not be read, so that a key may be in it: nothing that it may hold is disabled or deleted.", "Make it readable (rotator check); or rotator resolve POLICY --key ID --despite TARGET --why W."},
	{NamesCut, true, "xAI keeps names shorter than asked: a key of a lost create cannot be identified by its name. No more keys are made.", "Compare rotator keys with xAI's console; rotator resolve POLICY --key ID --why W says that it is ours."},
	{AbsenceUnproved, false, "xAI says that a key is gone, and nothing proves it yet.", "Nothing; a management key that sees all keys of the team proves it sooner."},
	{ExpiryTooShort, true, "A new key would expire before it could be replaced in time; it is not promoted.", "See why xAI lets keys of this team expire so soon."},
	{DueUnderHold, true, "The live key expires soon, and a hold keeps it from being replaced.", "rotator release POLICY"},
	{RetireOverdue, true, "A key that is to go is still in use, or its use is not known, after a week.", "Find the consumer that still reads it; retire.max_wait bounds the wait, and --accept-outage that of rotator decommission."},
	{Narrowing, true, "The key that a target holds may do more than key.acls. Its consumers would lose the rest at the first promotion, so it is neither adopted nor replaced.", "Add to key.acls what rotator status names; or set allow_narrowing: true once no consumer needs it."},
	{NotOffered, true, "xAI does not offer a call that this needs.", "rotator check names it and says what to configure instead."},

	// Of a policy's health alone.
	{health.CompromisedAccepted, false, "xAI still accepts a key that was reported compromised more than 15 minutes ago.", "rotator status POLICY says what its rotation or its deletion waits for."},
	{health.OverAge, false, "A key that works is older than max_age promises.", "rotator status POLICY says what its rotation or its retirement waits for; rotator rotate POLICY when nothing does."},
	{health.RotationLate, false, "A rotation has been due, wanted or under way for more than an hour.", "rotator status POLICY says what it waits for; without a reason, see whether the daemon runs."},
	{health.RetirementLate, false, "An old key should have been off, or deleted, more than an hour ago.", "rotator status POLICY says what its retirement waits for."},
	{health.KeyDead, true, "Consumers read a key that xAI refuses or has blocked.", "Nothing if a rotation is under way; else see the error, and whether the team is blocked at xAI."},
	{health.Removed, true, "The policy is in no file any more, and keys of it are left.", "Put the policy back; or rotator decommission POLICY --why W ends its keys, and rotator forget POLICY leaves them as they are."},
	{health.Failing, false, "A step failed three times in a row.", "See the error; it is tried again by itself."},
	{health.NotWatched, false, "A target was not read, or the live key did not prove itself, for two watches.", "See whether the daemon runs, and whether xAI and the store answer: rotator health."},
	{health.SpecRefused, false, "The policy's file has an error; the last version without one is in force.", "Correct the file: rotator check shows every problem."},
	{health.Unproved, false, "The live key did not prove itself yet, or a target does not hold it.", "Nothing; rotator status POLICY says more if it stays."},
	{health.ExpiryNear, false, "The key in use expires soon at xAI, and was neither replaced nor moved on: a hold, observe mode or a failure keeps that.", "rotator status POLICY says when, and what it waits for; release the hold, or rotator rotate POLICY."},
	{health.NeverRotated, false, "No key of this policy is live yet: what its targets hold is not watched.", "Nothing; or rotator rotate POLICY, or adopt: true in the policy, without waiting for its schedule."},
}

// NeedsHuman reports whether the reason waits for a human.
func NeedsHuman(r journal.Reason) bool {
	for _, i := range All {
		if i.Reason == r {
			return i.Human
		}
	}
	return false
}

// Error is an error with the reason why a policy waits.
type Error struct {
	Reason journal.Reason
	err    error
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// Errorf makes an error with a reason.
func Errorf(r journal.Reason, format string, args ...any) error {
	return &Error{r, fmt.Errorf(format, args...)}
}

// Is reports whether err has the reason r.
func Is(err error, r journal.Reason) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == r
}

// Of returns the reason of an error.
func Of(err error) journal.Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	switch {
	case errors.Is(err, stores.ErrDenied):
		return StoreDenied
	case errors.Is(err, stores.ErrInvalid):
		return TargetInvalid
	case errors.Is(err, stores.ErrStale):
		return StoreLags
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
	case xai.ClassInvalid, xai.ClassACL, xai.ClassRoute:
		return XAIRefused
	case xai.ClassModel:
		return VerifyModel
	case xai.ClassKeyUnknown, xai.ClassKeyDisabled:
		return WaitProof
	}
	return XAIUnavailable
}
