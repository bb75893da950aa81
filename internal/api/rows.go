package api

import (
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
)

// What the commands print with -o json and what the API answers are the same rows: a fact that is absent is null, times
// are RFC 3339 in UTC with whole seconds, durations are whole seconds.

// The states of a policy that are not states of a rotation.
const (
	StateIdle    = "idle"    // no rotation is in flight
	StateBlocked = "blocked" // retrying alone is unlikely to help: a human is needed
	StateRemoved = "removed" // the policy vanished from the files and was not forgotten
)

// The modes of a process.
const (
	ModeRotate  = "rotate"
	ModeObserve = "observe" // nothing is changed at xAI or in a store
)

// How a policy is, in one word: the worst first.
const (
	HealthOverdue        = string(health.Overdue)
	HealthActionRequired = string(health.ActionRequired)
	HealthDegraded       = string(health.Degraded)
	HealthProgressing    = string(health.Progressing)
	HealthOK             = string(health.OK)
)

// StatusRow is the state of a policy.
type StatusRow struct {
	Policy        string            `json:"policy"`
	Team          string            `json:"team"`
	Owner         *string           `json:"owner"` // whom its file names as responsible
	Labels        map[string]string `json:"labels"`
	Mode          string            `json:"mode"`           // of the process that answers: rotate, or observe, in which nothing is changed outside
	Health        string            `json:"health"`         // ok, progressing, degraded, action_required or overdue
	HealthReason  *string           `json:"health_reason"`  // why: one of the closed list; null when all is well
	State         string            `json:"state"`          // idle, a state of a rotation in flight, overlap, soaking, blocked or removed
	RotationState *string           `json:"rotation_state"` // as State, also while that says blocked or removed; null when idle
	Reason        *string           `json:"reason"`         // why nothing moves: one of the closed list
	Remedy        *string           `json:"remedy"`         // what to do about it; null: nothing
	KeyID         *string           `json:"key_id"`         // of the key that consumers read
	Fingerprint   *string           `json:"fingerprint"`
	LiveSince     *time.Time        `json:"live_since"`
	Age           *int64            `json:"age"` // seconds since the oldest key that is still accepted was created
	MaxAge        *int64            `json:"max_age"`
	NextRun       *time.Time        `json:"next_run"`
	NextCause     *string           `json:"next_cause"`    // why then: schedule, max_age, expiry or new_target
	Rotation      *string           `json:"rotation"`      // id of the rotation in flight, or of the last one while old keys are left
	WaitingUntil  *time.Time        `json:"waiting_until"` // when what Reason names is tried again or over
	Hold          *HoldRow          `json:"hold"`
	Error         *string           `json:"error"`
	SpecError     *string           `json:"spec_error"` // why what its file says was refused: it uses the last accepted version; null: it acts as the file says
	Targets       []StatusTarget    `json:"targets"`    // what its file names, and what it left and still watches
	Replica       *string           `json:"replica"`    // that acts for it at this moment
	ReplicaSince  *time.Time        `json:"replica_since"`
	Wanted        []WantedRow       `json:"wanted"`      // what people asked for and is not achieved yet
	ExpiresAt     *time.Time        `json:"expires_at"`  // when that key expires at xAI; null: never
	KeyChanges    []KeyChangeRow    `json:"key_changes"` // where keys in use are not what the policy says
}

// StatusTarget is what was last seen in a target.
type StatusTarget struct {
	Target string     `json:"target"`  // store:path#field
	Status *string    `json:"status"`  // ok, empty, drift, foreign, missing, unreadable, other_policy, other_rotator or same_place; null: never read
	Holds  *string    `json:"holds"`   // the id of the key that was last seen there; null: none that the journal knows
	ReadAt *time.Time `json:"read_at"` // when it was last read; null: never
	Left   bool       `json:"left"`    // its policy no longer names it
	Error  *string    `json:"error"`   // why it could not be read
}

// The states of a change of a key.
const (
	ChangePending = "pending"       // it is sent
	ChangeRefused = "refused"       // xAI refused it: the next key has it
	ChangeDrift   = "drift"         // someone changed it at xAI, and it stays so
	ChangeLater   = "next_rotation" // rights that the key keeps until then
)

// KeyChangeRow is where a key is not what its policy says.
type KeyChangeRow struct {
	KeyID  string `json:"key_id"`
	State  string `json:"state"` // pending, refused, drift or next_rotation
	Detail string `json:"detail"`
}

// WantedRow is something that people asked for and that stays wanted until it is achieved or taken back.
type WantedRow struct {
	What  string     `json:"what"` // rotate, revoke or decommission
	KeyID *string    `json:"key_id"`
	Why   *string    `json:"why"`
	By    *string    `json:"by"` // null: the rotator itself, since what consumers read is bad
	Since *time.Time `json:"since"`
	Done  *time.Time `json:"done"` // of a decommission whose keys are gone: no rotation begins until it is taken back, or the policy's file is removed
}

// HoldRow is a hold that is in force.
type HoldRow struct {
	Reason string     `json:"reason"`
	By     string     `json:"by"`
	At     *time.Time `json:"at"`
	Until  *time.Time `json:"until"` // null: until released
}

// HistoryRow is one rotation.
type HistoryRow struct {
	Rotation  string     `json:"rotation"`
	Policy    string     `json:"policy"`
	State     string     `json:"state"`
	Trigger   string     `json:"trigger"`
	OldKeyIDs []string   `json:"old_key_ids"`
	NewKeyID  *string    `json:"new_key_id"`
	Started   *time.Time `json:"started"`
	Live      *time.Time `json:"live"`
	Ended     *time.Time `json:"ended"`
	Attempts  int        `json:"attempts"`
	Error     *string    `json:"error"`
}

// KeyRow is one key of a team, as xAI lists it; or a team whose keys could not be listed, and why.
type KeyRow struct {
	Team     string     `json:"team"`
	KeyID    *string    `json:"key_id"`
	Name     *string    `json:"name"`
	Kind     *string    `json:"kind"` // managed, predecessor, in_doubt, orphan or unmanaged
	Policy   *string    `json:"policy"`
	Creator  *string    `json:"creator"` // the id of the user who made it
	Created  *time.Time `json:"created"`
	Expires  *time.Time `json:"expires"` // null: never
	ACLs     []string   `json:"acls"`
	Wide     bool       `json:"wide"` // it may use every model by every endpoint
	Disabled bool       `json:"disabled"`
	Holders  []string   `json:"holders"` // targets that were seen to hold it: store:path#field
	Use      *string    `json:"use"`     // with unused_for: none, none_seen (billing names other keys and not this one) or unknown
	Error    *string    `json:"error"`   // why the team's keys could not be listed
}

// KeysQuery selects keys of teams.
type KeysQuery struct {
	Team      string        // "": every team
	Unmanaged bool          // only keys that the rotator has nothing to do with
	Wide      bool          // only keys that may use every model by every endpoint
	UnusedFor time.Duration // only keys that are older and were not used for so long; 0: all
}

// ACLRow is one thing that the ACLs of a team's keys may name, or that policies name although xAI does not offer it; or a team
// that could not be asked about, and why.
type ACLRow struct {
	Team     string   `json:"team"`
	ACL      *string  `json:"acl"`
	Kind     *string  `json:"kind"`    // language, embedding, image, audio, video or endpoint; model where it is not offered
	Offered  bool     `json:"offered"` // false: policies name it, and xAI does not offer it
	Aliases  []string `json:"aliases"` // other names of the model
	Policies []string `json:"policies"`
	Nearest  *string  `json:"nearest"` // what was probably meant, where it is not offered
	Error    *string  `json:"error"`
}

// PlanRow is one thing that would happen to a policy.
type PlanRow struct {
	Policy string     `json:"policy"`
	Action string     `json:"action"` // rotate, adopt, create, update, promote, disable, delete, leave, wait or warning
	At     *time.Time `json:"at"`     // null: no one can say yet
	KeyID  *string    `json:"key_id"`
	Target *string    `json:"target"` // store:path#field
	Detail *string    `json:"detail"`
}

// AdoptionRow is what would become of one key if the journal were rebuilt from what targets hold and xAI lists.
type AdoptionRow struct {
	Policy  *string    `json:"policy"` // null: of no policy's
	KeyID   *string    `json:"key_id"` // null: why speaks of the policy
	Name    *string    `json:"name"`
	Created *time.Time `json:"created"`
	As      string     `json:"as"`     // current, predecessor, left or waits
	Target  *string    `json:"target"` // one that holds the key: store:path#field
	Why     string     `json:"why"`
}

// The results of a check.
const (
	CheckOK      = "ok"
	CheckWarning = "warning"
	CheckProblem = "problem"
)

// CheckRow is one thing that was checked.
type CheckRow struct {
	Subject string  `json:"subject"` // such as "team research" or "target vault:llm/chat#api_key of chat-prod"
	Result  string  `json:"result"`  // ok, warning or problem
	Detail  *string `json:"detail"`  // what is wrong
	Do      *string `json:"do"`      // what to do about it
}

// EventRow is something that happened.
type EventRow struct {
	ID       int64             `json:"id"`
	At       *time.Time        `json:"at"`
	Policy   *string           `json:"policy"`
	Rotation *string           `json:"rotation"`
	Kind     string            `json:"kind"`
	Data     map[string]string `json:"data"`
}

// Events are events in their order, and the id to ask for the next ones with.
type Events struct {
	Next   int64      `json:"next"`
	Events []EventRow `json:"events"`
}

// OrderRow is an order and what became of it.
type OrderRow struct {
	ID           int64      `json:"id"`
	Policy       string     `json:"policy"`
	Kind         string     `json:"kind"`
	Trigger      *string    `json:"trigger"`
	Supersede    bool       `json:"supersede"`
	Target       *TargetRow `json:"target"`
	Decision     *string    `json:"decision"`
	FalseAlarm   bool       `json:"false_alarm"`
	AcceptOutage bool       `json:"accept_outage"`
	KeyIDs       []string   `json:"key_ids"` // the keys that it speaks of
	Why          *string    `json:"why"`
	By           string     `json:"by"`
	At           *time.Time `json:"at"`
	Done         *time.Time `json:"done"`     // null: not carried out yet
	Refused      *string    `json:"refused"`  // why it was not carried out
	Rotation     *string    `json:"rotation"` // what it began or joined
}

// TargetRow names a target.
type TargetRow struct {
	Store string `json:"store"`
	Path  string `json:"path"`
	Field string `json:"field,omitempty"`
}

// VersionRow says who answers.
type VersionRow struct {
	Version string     `json:"version"`
	Started *time.Time `json:"started"`
	Mode    string     `json:"mode"` // rotate or observe; "" from an older version
}

func historyRow(r journal.Rotation) HistoryRow {
	state := r.State
	if state == journal.Live && !r.EndedAt.IsZero() {
		state = journal.Done
	}
	return HistoryRow{
		Rotation: r.ID, Policy: r.Policy, State: string(state), Trigger: string(r.Trigger),
		OldKeyIDs: r.OldKeyIDs.List(), NewKeyID: text(r.KeyID),
		Started: instant(r.StartedAt), Live: instant(r.LiveAt), Ended: instant(r.EndedAt),
		Attempts: r.Tries, Error: text(r.Error),
	}
}

func eventRow(e journal.Event) EventRow {
	row := EventRow{ID: e.ID, At: instant(e.At), Policy: text(e.Policy), Rotation: text(e.Rotation), Kind: string(e.Kind), Data: e.Data}
	if row.Data == nil {
		row.Data = map[string]string{}
	}
	return row
}

func orderRow(o journal.Order) OrderRow {
	row := OrderRow{
		ID: o.ID, Policy: o.Policy, Kind: string(o.Kind), Trigger: text(string(o.Trigger)), Supersede: o.Supersede, FalseAlarm: o.FalseAlarm, AcceptOutage: o.AcceptOutage,
		Decision: text(string(o.Decision)), KeyIDs: o.KeyIDs.List(), Why: text(o.Why), By: o.By, At: instant(o.At), Done: instant(o.DoneAt),
		Refused: text(o.Refused), Rotation: text(o.RotationID),
	}
	if o.Target != (journal.TargetID{}) {
		t := TargetRow(o.Target)
		row.Target = &t
	}
	return row
}

// text is s, or null when there is none.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// instant is t in UTC and whole seconds, or null when it is not yet.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// whole is t as instant writes it.
func whole(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return instant(*t)
}

func seconds(d time.Duration) *int64 {
	n := int64(d / time.Second)
	return &n
}
