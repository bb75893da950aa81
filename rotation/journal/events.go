package journal

// Kind is what an event is about.
type Kind string

// The kinds of events. Those in [Kind.Urgent] are sent to people.
const (
	Started               Kind = "started"         // a rotation was planned
	KeyCreated            Kind = "key_created"     // xAI answered a create with an id
	KeyInDoubt            Kind = "key_in_doubt"    // a create's outcome is not known
	KeyLost               Kind = "key_lost"        // a key's value is gone; it will be deleted
	KeyFound              Kind = "key_found"       // the sweep found the key of an attempt in doubt
	KeySettled            Kind = "attempt_settled" // an attempt in doubt left nothing behind
	KeyCompromised        Kind = "key_compromised" // a human reported that a key is known to others
	KeyRevoked            Kind = "key_revoked"     // a human ends a key now, whatever reads it: Data has why, by, and the readers
	Decommission          Kind = "decommission"    // a human wants a policy's keys gone without a successor
	DecommissionEnded     Kind = "decommissioned"  // they are gone: Data has the targets that still hold their values
	DecommissionWithdrawn Kind = "decommission_withdrawn"
	KeyUnproved           Kind = "proved_by_identity" // a key in use could not make the call that verifies it; who it is was enough
	KeyAdopted            Kind = "key_adopted"        // a key became ours that this journal did not make
	KeyStaged             Kind = "staged"             // every target holds the successor beside the current value
	KeyVerified           Kind = "verified"           // the staged bytes were proved
	PromoteBegun          Kind = "promoting"          // the point of no return
	CanaryBegun           Kind = "canary"             // one target holds the successor, and the others wait
	CanaryEnded           Kind = "canary_over"        // the other targets get the key: Data says why
	TargetPromoted        Kind = "target_promoted"    // a target reads back the successor
	Promoted              Kind = "promoted"           // consumers read the successor everywhere: the rotation is live
	KeyDisabled           Kind = "key_disabled"       // an old key is off
	KeyEnabled            Kind = "key_enabled"        // an old key is on again
	KeyDeleted            Kind = "key_deleted"        // a key is gone for good
	KeyUpdated            Kind = "key_updated"        // a key has the rights, limits, name or expiry that its policy wants: Data has which parts, and all that it may do
	KeyDrifted            Kind = "key_drifted"        // someone changed them at xAI: Data has what, and whether it is set right
	KeyUpdateRefused      Kind = "key_update_refused" // xAI does not change them: the next key has them
	KeyNotDisabled        Kind = "disable_refused"    // xAI does not let keys be disabled: deleted after the soak without
	Finished              Kind = "done"               // the rotation is over
	AbortBegun            Kind = "aborting"           // it goes back
	AbortEnded            Kind = "aborted"            //
	RollbackBegun         Kind = "rolling_back"       //
	RollbackEnded         Kind = "rolled_back"        //
	TakenOver             Kind = "superseded"         //
	Failed                Kind = "failed"             // a step failed for the first time; it is tried again
	Recovered             Kind = "recovered"          // a step that had failed went well
	WaitsForHuman         Kind = "waiting_for_human"
	AgeOverLimit          Kind = "age_over_limit"
	Unretired             Kind = "unretired" // a predecessor that outlived max_wait was retired, in use or not
	Drifted               Kind = "drift"
	TargetResolved        Kind = "target_resolved"
	KeyUnhealthy          Kind = "key_unhealthy" // a key in use is dead, disabled, blocked or expiring
	KeyHealthy            Kind = "key_healthy"
	OrphansSeen           Kind = "orphans"        // keys with our prefix that no intent names
	RightsMissing         Kind = "rights_missing" // xAI does not offer what policies name: Data has the team, the rights and the policies
	KeysUnused            Kind = "keys_unused"    // keys of a team that nothing used for a month: Data has the team and their ids
	KeysWide              Kind = "keys_wide"      // keys of a team that may use every model by every endpoint
	TeamRefused           Kind = "team_refused"   // xAI refuses a team's management key, or it belongs to another team
	HoldSet               Kind = "hold"
	HoldReleased          Kind = "release"
	OrderRefused          Kind = "order_refused"
	Forgotten             Kind = "forget"
	PolicyRemoved         Kind = "policy_removed" // the files have some policies no more: Data has the first names, and how many
	ReloadRefused         Kind = "reload_refused"
	Assumption            Kind = "assumption"       // what a rehearsal saw of something that is assumed of xAI
	AttemptReopened       Kind = "attempt_reopened" // xAI lists a key of an attempt that was settled
	JournalRestored       Kind = "journal_restored"
	JournalClaimed        Kind = "journal_claimed" // an installation took over a journal that belonged to another
	HealthChanged         Kind = "health_changed"  // a policy became action_required or overdue, or is no longer: Data has from, to and the reason
	Reconciled            Kind = "reconciled"      // the journal was compared with what is outside, and agrees with it now
	Healed                Kind = "healed"          // consumers read a key that works again
	NamesShortened        Kind = "names_cut"       // xAI keeps names shorter than asked
	ChannelFailed         Kind = "channel_failed"  // a channel of notifications fails for minutes: Data has its name and the error
	Ordered               Kind = "ordered"         // a human gave an order: Data has all that was said, who said it, and from where
	PolicyAdded           Kind = "policy_added"    // Data has what it says, and its file
	PolicyChanged         Kind = "policy_changed"  // Data has each part that changed, as "before → after"
	PolicyRenamed         Kind = "policy_renamed"  // Data has the name until then; events keep the name that they were written under
	PolicyLeft            Kind = "policy_left"     // the files do not have this policy any more
	PolicyReturned        Kind = "policy_returned" // they have it again
	KeyMoved              Kind = "key_moved"       // a key went with its policy to another name
	Reloaded              Kind = "reload"          // files were read and accepted: Data has who asked, and how many policies changed
	GateRefused           Kind = "gate_refused"    // the gate let a key be: Data has the rule and why
	Checkpointed          Kind = "checkpoint"      // Data has a note that covers all events up to one
	FailedOver            Kind = "failed_over"     // the database may have lost its last commits: Data has the timelines before and after
)

// TrailOnly reports whether an event of this kind is for the record alone: someone did or said something, and nothing is to be
// done about it.
func (k Kind) TrailOnly() bool {
	switch k {
	case Ordered, PolicyAdded, PolicyChanged, PolicyRenamed, PolicyLeft, PolicyReturned, KeyMoved, Reloaded, Checkpointed:
		return true
	}
	return false
}

// Urgent reports whether an event of this kind is sent to people.
func (k Kind) Urgent() bool {
	switch k {
	case Promoted, Failed, WaitsForHuman, AgeOverLimit, Unretired, Drifted, KeyUnhealthy, OrphansSeen, TeamRefused, AttemptReopened,
		RollbackEnded, TakenOver, AbortEnded, KeyCompromised, KeyRevoked, Decommission, DecommissionEnded, DecommissionWithdrawn, Healed, HealthChanged, NamesShortened, KeyNotDisabled, KeyDrifted, KeyUpdateRefused, PolicyRemoved, ReloadRefused, JournalRestored, FailedOver, RightsMissing, ChannelFailed:
		return true
	}
	return false
}
