package journal

import "time"

// TargetID names a target.
type TargetID struct{ Store, Path, Field string }

// String returns store:path#field, as logs and commands write a target.
func (t TargetID) String() string {
	s := t.Store + ":" + t.Path
	if t.Field != "" {
		s += "#" + t.Field
	}
	return s
}

// TargetStatus is what was last found in a target.
type TargetStatus string

// The statuses of a target.
const (
	TargetNew          TargetStatus = ""              // never read
	TargetEmpty        TargetStatus = "empty"         // read, and nothing there
	TargetOK           TargetStatus = "ok"            // holds the key the journal names, or the baseline
	TargetDrift        TargetStatus = "drift"         // holds something that is neither ours nor the baseline
	TargetForeign      TargetStatus = "foreign"       // held, at first contact, something that only a human may replace
	TargetMissing      TargetStatus = "missing"       // empty, and held a value before
	TargetUnreadable   TargetStatus = "unreadable"    // could not be read
	TargetOtherPolicy  TargetStatus = "other_policy"  // holds a key of another policy
	TargetOtherRotator TargetStatus = "other_rotator" // holds a key that another rotator made
	TargetSamePlace    TargetStatus = "same_place"    // is one place with another policy's target
)

// Decision is a human's word on a target.
type Decision string

// The decisions.
const (
	Undecided Decision = ""
	Overwrite Decision = "overwrite" // what is there now may be replaced
	Leave     Decision = "leave"     // what is there now stays, and is no news
	Drop      Decision = "drop"      // the target is no longer ours to write
	Adopt     Decision = "adopt"     // of an order, on keys: they become this policy's
	Despite   Decision = "despite"   // of an order, on a key and a target: its silence does not block the key's retirement
	Ours      Decision = "ours"      // of an order, on a key that xAI lists under a shortened name: a lost create made it
)

// Target is one place that a policy writes, or wrote once. What it may hold is in sightings.
type Target struct {
	TargetID
	Policy      string // whose target it is, or was last
	Place       string // the place itself, as the store reports it; "" not known
	Status      TargetStatus
	KeyID       string // the key last seen there; "" nothing, or not an API key that we know
	Fingerprint string // of the value last seen
	Replaceable string // fingerprint of the value that a promote may replace ("" = an empty target)
	Decision    Decision
	DecidedFor  string    // the fingerprint that the decision speaks of
	ContactAt   time.Time // of the first contact; zero: not yet made
	EmptyFrom   time.Time // since when every read found nothing; zero: something was found, or it was never read
	EmptyAt     time.Time // the last of those reads
	SeenAt      time.Time
	RemovedAt   time.Time // since when its policy no longer names it
	Error       string
}

// Excluded reports whether a human took the target out of the rotator's hands. It is read anyway.
func (t Target) Excluded() bool {
	return t.Decision == Drop || t.Decision == Leave && t.DecidedFor == t.Fingerprint
}

// Sighting says that a target held a value, and may still hold it. It ends by evidence alone: then its row goes.
type Sighting struct {
	TargetID
	Policy      string
	Fingerprint string // of a whole value, or of a part of one that has the form of a key
	KeyID       string // "" not identified
	FirstSeen   time.Time
	AbsentSince time.Time // the first of the reads in a row that showed another value; zero: it was there at the last read
}
