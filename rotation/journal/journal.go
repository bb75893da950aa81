// Package journal says what the rotator records, and is the contract of the durable record.
//
// The journal never holds a secret: keys are named by id and fingerprint. This package and everything below it cannot
// even see the type that secrets live in; a test on the import graph keeps it so.
//
// Who writes what: a policy's row, rotations, keys, effects, targets and sightings are written by the one who holds the policy's
// claim, in one transaction with the events that report it ([Journal.Commit]). People write orders and holds, the
// loader writes the policies' specifications; neither needs a claim, and both wake the policy.
package journal

import (
	"context"
	"errors"
	"time"
)

// The errors of a journal.
var (
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("not in the journal")
	// ErrLost: the claim is no longer ours, or the row was changed by another; nothing was written.
	// Whoever gets it stops and touches nothing more.
	ErrLost = errors.New("the claim on the policy was lost")
	// ErrInUse: another process has the journal. The error names it.
	ErrInUse = errors.New("the journal is in use")
	// ErrNewer: the journal was changed by a newer version of the program, in a way that this one cannot work with.
	ErrNewer = errors.New("the journal is from a newer version")
)

// Journal is the durable record. Times are kept with microseconds, in UTC; the zero time is "not yet".
type Journal interface {
	Claimer
	Reader
	Words
	Pacer
	Places
	Auditor

	// Commit writes what the record's owner changed since Load, and the events, in one transaction guarded by the
	// claim's epoch. With release the claim ends and the policy is handed out again from rec.Policy.NextRunAt on, or at
	// once when another process woke it meanwhile. On success rec counts as freshly loaded. ErrLost: nothing was written.
	Commit(ctx context.Context, c Claim, rec *Record, release bool, events ...Event) error

	// CommitAll releases many claims at once, each with what its owner changed of the policy's own row, of targets and of
	// keys that were there when it was loaded; nothing else may have changed. It returns an error for each of done:
	// nil (its record counts as freshly loaded), ErrLost, or ErrForbidden for what only [Journal.Commit] writes; those
	// claims are not released, and the others are anyway. The last error is of the whole: none was released, as far
	// as is known.
	CommitAll(ctx context.Context, done []Outcome) ([]error, error)

	// SetPolicies makes specs the policies there are: new ones are added (FirstSeen now, due now), changed ones updated
	// and woken, those missing get RemovedAt, which one event reports. A spec with RenamedFrom takes over all that belongs to
	// the old name.
	SetPolicies(ctx context.Context, now time.Time, specs []Spec) error

	// TakeReading is SetPolicies for what one process read from files, some of which may be broken. Policies that it kept stay as
	// they are, with a SpecError that is theirs until the files' word on them is accepted; a change of it wakes the policy. Of
	// a partial reading nothing is removed. While a live replica's last reading names a policy, it is not removed either but
	// awaited: the caller reads again later. The reading becomes the replica's Load; a set of problems that no Load has yet is reported by one
	// event.
	TakeReading(ctx context.Context, now time.Time, r Reading) (awaited []string, err error)

	// SaveTeam records what is known of a team.
	SaveTeam(ctx context.Context, t Team) error

	// Reopen notes that xAI lists a key that the journal counts as gone: one that was deleted is deleting again, and one whose
	// create had no effect is rejected, with the id that it has now. It wakes the key's policy. A key that is not gone
	// stays as it is. ErrNotFound: there is no such key, or its policy was forgotten.
	Reopen(ctx context.Context, now time.Time, ref string, listed ListedKey) error

	// SaveList records what a list of the team's keys says of keys that the journal knows: their expiry, whether they are off,
	// whose they are and what they may do. Where that changed, it wakes the policy.
	SaveList(ctx context.Context, now time.Time, team string, keys []ListedKey) error

	// Record appends events that belong to no claim.
	Record(ctx context.Context, events ...Event) error

	// SetMeta keeps a small fact about the journal itself; Meta reads it ("" when it was never set).
	SetMeta(ctx context.Context, key, value string) error
	Meta(ctx context.Context, key string) (string, error)

	// SetInstallation says which installation opens the journal. The first one is recorded. claimed is false when the journal
	// belongs to another one: then everything is compared again ([MetaRestored] has a new mark, once for each stranger) and
	// nothing may be changed outside until someone claims it.
	SetInstallation(ctx context.Context, now time.Time, name string) (claimed bool, err error)

	// ClaimInstallation makes the journal that of the named installation. With asCopy the original is still in use
	// elsewhere: every key that is not gone becomes forgotten (one that is being deleted too: the original deletes it),
	// rotations in flight end aborted or superseded, effects close, sightings go, and every target is a first contact again.
	// It waits until nothing acts for a policy any more ([ErrBusy] after half a minute).
	ClaimInstallation(ctx context.Context, now time.Time, name string, asCopy bool, e Event) error

	// Backup writes a consistent copy to the file path, which must not exist. A process that opens the copy finds
	// [MetaRestored] set. [MetaBackup] of both is set too, where the journal may be written.
	Backup(ctx context.Context, path string) error

	Close() error
}

// MetaManagementKey begins the name of the fact since when a team's management key is in use: "KEY_ID RFC3339". The team's
// name follows. xAI does not say how old a management key is.
const MetaManagementKey = "management_key/"

// MetaUnusedAt begins the name of the fact when billing last told which keys of a team are used: an instant in RFC 3339. The
// team's name follows.
const MetaUnusedAt = "unused_at/"

// MetaKeys names the fact which keys of a team an event of the kind told of last, or which rights: a list with spaces, empty if
// none.
func MetaKeys(kind Kind, team string) string { return string(kind) + "/" + team }

// MetaRestored is set, to a value that it never had before, in a journal that was made from a backup or may have lost
// its last commits: until every target was matched, the engine only looks. MetaRestoredTold is the value of it that
// people were notified of.
const (
	MetaRestored     = "restored"
	MetaRestoredTold = MetaRestored + "/told"
)

// MetaBackup is when the last backup of the journal was made, RFC 3339. Whoever backs up a database by other means may set it.
const MetaBackup = "last_backup"

// MetaMode is the mode in which a process last acted on the journal: rotate or observe; "" is rotate.
const MetaMode = "mode"

// Outcome is a claim that ends, and the record that its owner changed.
type Outcome struct {
	Claim  Claim
	Record *Record
}

// Claimer hands out policies, each to one owner at a time. A policy is at rest while no rotation is in flight, nothing is
// due before its watch (NextRunAt is WatchAt), and nothing woke it; those are handed out apart, many at once.
type Claimer interface {
	// Claim takes up to limit policies whose NextRunAt has come, oldest first, of those named (all when none is), but not
	// those at rest. An error is not a claim.
	Claim(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]Claim, error)
	// ClaimResting is Claim for those at rest alone.
	ClaimResting(ctx context.Context, owner string, now time.Time, limit int, only ...string) ([]Claim, error)
	// Lease is how long a claim lasts that is not renewed; 0: forever, one process has the journal.
	Lease() time.Duration
	// Renew prolongs a claim. ErrLost: it is no longer ours.
	Renew(ctx context.Context, now time.Time, c Claim) (Claim, error)
	// Release gives a claim back unchanged, to be handed out again from at on.
	Release(ctx context.Context, c Claim, at time.Time) error
	// Hasten makes policies due that were put off for longer than beyond. No owner puts one off beyond the Horizon: that
	// happens only when the clock was set back. With 0 all are due, since what they waited for is over.
	Hasten(ctx context.Context, now time.Time, beyond time.Duration) error
	// Next is when the next policy comes due for Claim, and the next one at rest for ClaimResting; the zero time when
	// none ever does. A claim whose owner died counts for both from when it ends by itself.
	Next(ctx context.Context) (due, rest time.Time, err error)
	// Wakes calls wake soon after another process woke a policy, on whatever replica, until ctx ends, and returns ctx's error. It
	// is a convenience: what wake announces may be missed, so that a caller that relies on it asks Next from time to time.
	Wakes(ctx context.Context, wake func()) error
	// Chore reports whether it is this owner's turn to do the named job that is done once per every, over all replicas.
	Chore(ctx context.Context, now time.Time, name string, every time.Duration) (bool, error)
	// Beat records that a replica is alive, for people to see; its Claims are not looked at, and its StartedAt is on this
	// process's clock like now. Replicas that nothing saw for a day are dropped. One that rotates, beside one that observes, makes
	// policies due that the other one left paused: it took them before it knew that it is not alone.
	Beat(ctx context.Context, now time.Time, r Replica) error
	// Leave drops a replica that stops. One that is not known is no error.
	Leave(ctx context.Context, name string) error
}

// Pacer shares one pace of calls among all who use one journal: the limit of the one who is called is that of all together.
type Pacer interface {
	// Take reserves calls calls at the pace of that name: they may begin after delay, one each 1/rate seconds; what is
	// not used lapses. When delay is above b.Wait nothing was reserved.
	Take(ctx context.Context, now time.Time, name string, calls int, b PaceBounds) (delay time.Duration, rate float64, err error)
	// Slow halves the pace after a call was refused for coming too soon, once per wave of refusals, and lets nothing begin
	// before retryAfter has passed.
	Slow(ctx context.Context, now time.Time, name string, retryAfter time.Duration, b PaceBounds) error
}

// PaceBounds bound a pace. It begins at the top and comes back to it after it was slowed.
type PaceBounds struct {
	Top, Floor float64 // calls a second
	Burst      int     // calls that may begin at once after a quiet time, at the top alone
	Step       float64 // calls a second, given back by a Take when the pace held for Calm
	Calm       time.Duration
	Wave       time.Duration // refusals that come so soon after one that halved are of its wave
	Wait       time.Duration // the longest that calls are reserved ahead; 0: any time
}

// Places lets one policy at a time write at a place that several write at, over all who use the journal. A place is a name;
// the caller decides what it names.
type Places interface {
	// TakePlace gives the place to a claim until FreePlace, or until the claim ends: an owner that died has it no longer than
	// its lease. taken is false while another policy's claim has it; nothing waits here. The same claim may take it again.
	// ErrLost: the claim is no longer ours.
	TakePlace(ctx context.Context, now time.Time, c Claim, place string) (taken bool, err error)
	// FreePlace gives a place back. One that the claim does not have is no error.
	FreePlace(ctx context.Context, c Claim, place string) error
}

// Horizon is further than any policy is put off: its targets are watched more often.
const Horizon = 2 * time.Hour

// Claim is the right to act for a policy.
type Claim struct {
	Policy string
	Owner  string
	Epoch  int64     // grows with every claim; every write carries it
	Now    time.Time // the journal's clock when the claim was made
	Until  time.Time // when the claim ends by itself, on the journal's clock; zero: never (one process has the journal)
	Seq    int64     // the policy's wake count when it was claimed
}

// Reader looks without changing anything.
type Reader interface {
	// Load returns all that an owner needs to act for a policy. ErrNotFound.
	Load(ctx context.Context, policy string) (*Record, error)
	// LoadAll is Load for many policies, in the order asked; nil stands for one that there is not.
	LoadAll(ctx context.Context, policies []string) ([]*Record, error)
	// Summaries returns the policies named, of all when none is, with their rotations in flight and their holds, by name.
	Summaries(ctx context.Context, policies ...string) ([]Summary, error)
	// Rotations returns rotations newest first, of one policy or of all (""), at most limit (0: 100).
	Rotations(ctx context.Context, policy string, limit int) ([]Rotation, error)
	// Targets returns the targets of the policies named, also left ones; the whole target map when none is.
	Targets(ctx context.Context, policies ...string) ([]Target, error)
	// TargetsAt returns the targets of all policies whose place in a store is the given one, also left ones.
	TargetsAt(ctx context.Context, store, place string) ([]Target, error)
	// TargetsBeside returns the targets of all policies that are in one secret of a store, also left ones: those of the path,
	// and those whose place is the given one or a field of it.
	TargetsBeside(ctx context.Context, store, path, place string) ([]Target, error)
	// SightingsOf returns every sighting of a key, by its id or its fingerprint, over all policies.
	SightingsOf(ctx context.Context, keyID, fingerprint string) ([]Sighting, error)
	// UnidentifiedSightings returns every sighting over all policies that is not of a key that the journal knows: parts and values
	// that nothing identifies.
	UnidentifiedSightings(ctx context.Context) ([]Sighting, error)
	// Key returns a key by its id. ErrNotFound.
	Key(ctx context.Context, id string) (Key, error)
	// Keys returns those of the ids' keys that were ever recorded, also gone ones, oldest first.
	Keys(ctx context.Context, ids []string) ([]Key, error)
	// KeysByName returns those of the names' keys that were ever recorded, also those whose create had no effect.
	KeysByName(ctx context.Context, names []string) ([]Key, error)
	// KeysByFingerprint returns those of the fingerprints' keys that were ever recorded, also gone ones, oldest first. It leads
	// from a value to its key.
	KeysByFingerprint(ctx context.Context, prints []string) ([]Key, error)
	// Teams returns what is known of the teams.
	Teams(ctx context.Context) ([]Team, error)
	// Events returns events with an id above after, oldest first, at most limit.
	Events(ctx context.Context, after int64, limit int) ([]Event, error)
	// LastEvent returns the highest id of an event, 0 when there is none.
	LastEvent(ctx context.Context) (int64, error)
	// Accepted returns the policies in force, by name: what the loader accepted last.
	Accepted(ctx context.Context) ([]Spec, error)
	// Vanished returns the policies that were removed and not forgotten, by name, as they were accepted last.
	Vanished(ctx context.Context) ([]Spec, error)
	// Loads returns what each live replica last read from its files, by name; where none lives, what was read last.
	Loads(ctx context.Context) ([]Load, error)
	// Replicas returns the replicas that beat and did not leave, by name.
	Replicas(ctx context.Context) ([]Replica, error)
	// Size returns how many bytes the journal takes where it is kept, indexes and what waits to be merged into it included.
	Size(ctx context.Context) (int64, error)
	// HoldOf returns the policy's hold as it is now; the zero Hold when there is none.
	HoldOf(ctx context.Context, policy string) (Hold, error)
}

// Words are what people say. They need no claim, take effect wherever the rotation runs, and wake the policy.
type Words interface {
	// Place records an order for a policy and returns its id. ErrNotFound: there is no such policy.
	Place(ctx context.Context, o Order) (int64, error)
	// OrderByID says what became of an order.
	OrderByID(ctx context.Context, id int64) (Order, error)
	// SetHold holds a policy, in place of an earlier hold; a zero Hold releases it.
	SetHold(ctx context.Context, now time.Time, policy string, h Hold, e Event) error
	// Forget drops what the journal knows of a removed policy's targets and keys, or of one target that no policy uses.
	// What it forgets stays in the events.
	Forget(ctx context.Context, now time.Time, policy string, target *TargetID, e Event) error
}

// ListedKey is a key as a list of xAI's shows it.
type ListedKey struct {
	ID, Name, UserID string
	Disabled         bool
	ExpiresAt        time.Time
	Grant            string // what it may do, as package grant writes it
}
