package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rotator/rotation/health"
	"rotator/rotation/journal"
)

// Severity is how urgent an event is. Channels select by it.
type Severity string

// The severities. Critical: consumers are affected, or a promise is broken, or will be unless someone acts.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Severities are all there are.
var Severities = []Severity{Info, Warning, Critical}

// Facts are what is known of a policy when its event is sent.
type Facts struct {
	Team, Owner                  string
	Labels                       map[string]string
	Health, HealthReason, Remedy string
}

// Message is what receivers get of an event. What is absent is null.
type Message struct {
	ID           int64             `json:"id"` // grows; the same event always has the same id and time
	At           time.Time         `json:"at"` // RFC 3339 in UTC, whole seconds
	Kind         string            `json:"kind"`
	Severity     Severity          `json:"severity"`
	Summary      string            `json:"summary"` // one sentence for people; it may change between versions
	Policy       *string           `json:"policy"`
	Team         *string           `json:"team"`
	Owner        *string           `json:"owner"`
	Labels       map[string]string `json:"labels"`
	Health       *string           `json:"health"` // of the policy, when the event is sent
	HealthReason *string           `json:"health_reason"`
	Remedy       *string           `json:"remedy"` // what to do; null: nothing
	Rotation     *string           `json:"rotation"`
	Data         map[string]string `json:"data"`
	Source       string            `json:"source"` // the daemon: host/instance
}

// identity is the same each time an event is sent, and differs between events. Ids alone do not: reminders have none, and a journal
// that was restored from a backup gives some again.
func (m Message) identity() string {
	return fmt.Sprintf("%d %d %s %s", m.ID, m.At.Unix(), m.Kind, or(m.Policy))
}

// The kinds of messages that tell of no event.
const (
	reminderKind = "reminder" // a policy that still needs people
	testKind     = "test"
)

func newMessage(e journal.Event, f Facts, source string) Message {
	m := Message{
		ID: e.ID, At: e.At.UTC().Truncate(time.Second), Kind: string(e.Kind), Severity: severityOf(e), Data: bounded(e.Data), Source: source,
		Policy: text(e.Policy), Rotation: text(e.Rotation), Team: text(cmp.Or(f.Team, e.Data["team"])), Owner: text(cmp.Or(f.Owner, e.Data["owner"])),
		Labels: f.Labels, Health: text(f.Health), HealthReason: text(f.HealthReason), Remedy: text(f.Remedy),
	}
	if m.Labels == nil {
		m.Labels = map[string]string{}
	}
	m.Summary = summaryOf(m)
	return m
}

// maxData is how long a value of Data is at most, in characters: PagerDuty takes 512 KB, and what is always refused would keep back
// all that follow.
const maxData = 4000

func bounded(data map[string]string) map[string]string {
	out := make(map[string]string, len(data))
	for name, value := range data {
		out[name] = shorten(value, maxData)
	}
	return out
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// severityOf is how urgent an event is.
func severityOf(e journal.Event) Severity {
	switch e.Kind {
	case journal.Promoted, journal.Healed, journal.AbortEnded, journal.RollbackEnded, journal.Decommission, journal.DecommissionEnded, journal.DecommissionWithdrawn:
		return Info
	case journal.HealthChanged:
		switch health.Health(e.Data["to"]) {
		case health.Overdue:
			return Critical
		case health.ActionRequired:
			return Warning
		}
		return Info
	case journal.AgeOverLimit, journal.KeyCompromised, journal.KeyRevoked, journal.KeyUnhealthy, journal.JournalRestored:
		return Critical
	}
	return Warning
}

// summaries say what happened, by the kind of an event.
var summaries = map[journal.Kind]string{
	journal.Promoted:              "every target holds the new key",
	journal.Failed:                "a step failed; it is tried again",
	journal.WaitsForHuman:         "the policy waits for someone to act",
	journal.AgeOverLimit:          "a key is older than max_age",
	journal.Unretired:             "an old key was retired after max_wait, in use or not",
	journal.Drifted:               "a target holds a value that the rotator did not put there",
	journal.KeyUnhealthy:          "a key in use is dead, disabled, blocked or about to expire",
	journal.OrphansSeen:           "xAI lists keys with the rotator's prefix that its journal does not know",
	journal.TeamRefused:           "xAI refuses the team's management key, or it belongs to another team",
	journal.AttemptReopened:       "xAI lists a key of a create that was taken for failed",
	journal.RollbackEnded:         "consumers have the old key back",
	journal.TakenOver:             "a rotation was replaced by another",
	journal.AbortEnded:            "a rotation was taken back",
	journal.KeyCompromised:        "a key was reported compromised",
	journal.KeyRevoked:            "a key is being turned off now, whatever reads it",
	journal.Decommission:          "the policy's keys are retired without a successor",
	journal.DecommissionEnded:     "the policy's keys are gone",
	journal.DecommissionWithdrawn: "the decommission was taken back",
	journal.Healed:                "consumers read a key that works again",
	journal.HealthChanged:         "its health changed",
	journal.NamesShortened:        "xAI keeps names of keys shorter than asked",
	journal.KeyNotDisabled:        "xAI does not let the old key be disabled; it is deleted after the soak",
	journal.KeyDrifted:            "someone changed a key at xAI",
	journal.KeyUpdateRefused:      "xAI refuses a change of the key; the next key has it",
	journal.PolicyRemoved:         "policies are in no file any more; their keys are only watched",
	journal.ReloadRefused:         "files were refused; what was in force stays so",
	journal.JournalRestored:       "the journal was restored from an older state; it is compared before anything is destroyed",
	journal.FailedOver:            "the database failed over and may have lost its last commits",
	journal.ChannelFailed:         "a channel of notifications fails; it is tried again",
	journal.RightsMissing:         "xAI does not offer what policies name in their ACLs",
	reminderKind:                  "the policy still needs someone",
	testKind:                      "this is a test",
}

// Known reports whether channels are told of events of a kind.
func Known(kind string) bool { return slices.Contains(Kinds(), kind) }

// Kinds are the kinds of messages, in order.
func Kinds() (all []string) {
	for kind := range summaries {
		if kind != testKind {
			all = append(all, string(kind))
		}
	}
	slices.Sort(all)
	return all
}

const maxSummary = 500 // characters

// summaryOf is one sentence: what it is about, what happened, why, and what to do.
func summaryOf(m Message) string {
	var b strings.Builder
	switch {
	case m.Policy != nil:
		b.WriteString(*m.Policy + ": ")
	case m.Team != nil:
		b.WriteString("team " + *m.Team + ": ")
	}
	kind := journal.Kind(m.Kind)
	what := cmp.Or(summaries[kind], strings.ReplaceAll(m.Kind, "_", " "))
	if to := m.Data["to"]; kind == journal.HealthChanged && to != "" {
		what = "health is now " + to
	}
	b.WriteString(what)
	for _, name := range []string{"reason", "error", "drift", "why"} {
		if said := m.Data[name]; said != "" {
			b.WriteString(": " + said)
			break
		}
	}
	if remedy := or(m.Remedy); remedy != "" && m.Severity != Info {
		b.WriteString(". " + remedy)
	}
	return shorten(strings.Join(strings.Fields(printable(b.String())), " "), maxSummary)
}

// printable is s without what moves a cursor or turns the direction of writing: a value shall not look like another message.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s)
}

// shorten cuts what is longer, between two characters.
func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// Match says which events a channel gets. What is empty selects everything; different parts narrow.
type Match struct {
	Severities []Severity
	Kinds      []string
	Teams      []string
	Owners     []string
	Labels     map[string]string
}

// takes reports whether a message is for the channel.
func (t Match) takes(m Message) bool { return t.ofEvent(m) && t.ofPolicy(m) }

// ofEvent is the part of takes that needs no facts of the policy.
func (t Match) ofEvent(m Message) bool {
	return (len(t.Severities) == 0 || slices.Contains(t.Severities, m.Severity)) && (len(t.Kinds) == 0 || slices.Contains(t.Kinds, m.Kind))
}

// ofPolicy is the rest of takes: whose policy it is about.
func (t Match) ofPolicy(m Message) bool {
	for key, value := range t.Labels {
		if have, ok := m.Labels[key]; !ok || have != value {
			return false
		}
	}
	in := func(some []string, s string) bool { return len(some) == 0 || slices.Contains(some, s) }
	return in(t.Teams, or(m.Team)) && in(t.Owners, or(m.Owner))
}
