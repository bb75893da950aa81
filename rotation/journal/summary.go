package journal

import "time"

// Team is what is known of a team.
type Team struct {
	Name, ID, Scope       string
	ManagementKeyID       string
	ValidatedAt, ListedAt time.Time
	Managed, Unmanaged    int // keys in the last list
	Orphans               int // keys with our prefix that no intent names
	Error                 string
}

// Event is something that happened. Data holds facts by name and never a secret.
type Event struct {
	ID               int64
	At               time.Time
	Policy, Rotation string
	Kind             Kind
	Data             map[string]string
	Link             string // in its chain, see [Chained]; the journal's
}

// Summary is a policy with what is in flight, and who acts for it at this moment.
type Summary struct {
	Policy     Policy
	Rotation   *Rotation // in flight; else the youngest live one whose old keys are not all gone
	Hold       Hold
	Keys       []Key     // those not gone: what status shows of overlap and soak
	Owner      string    // "": no one; also when its lease ran out
	OwnedSince time.Time // when he claimed it; zero: not known
	Drifted    int       // targets that hold neither a key of ours nor the baseline
}

// StaleAfter is how long a replica may not be seen before it counts as gone: three of its beats, which come every 10 s or
// more often.
const StaleAfter = 30 * time.Second

// Replica is one of the processes that act for the policies of a journal. Its times are on the journal's clock.
type Replica struct {
	Name      string // the owner of its claims
	Host      string
	Version   string
	Observes  bool // it is in observe mode: it changes nothing outside
	StartedAt time.Time
	SeenAt    time.Time     // when it last beat
	Unseen    time.Duration // since then
	Claims    int           // policies that it acts for at this moment
}
