package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"rotator/rotation/health"
	"rotator/rotation/journal"
)

// HealthRow is how one thing is that rotations need, or one policy.
type HealthRow struct {
	Kind   string  `json:"kind"`   // configuration, daemon, journal, team, store or policy
	Name   string  `json:"name"`   // of the team, the store or the policy; else the file or the address
	Health string  `json:"health"` // of a policy as in its status; else ok, unknown, down or refused
	Reason *string `json:"reason"` // why a policy is so
	Detail *string `json:"detail"` // what is wrong
	Remedy *string `json:"remedy"` // what to do about it
}

// What a row of health is about, and how that is where it is no policy.
const (
	KindConfiguration = "configuration"
	KindDaemon        = "daemon"
	KindJournal       = "journal"
	KindTeam          = "team"
	KindStore         = "store"
	KindPolicy        = "policy"

	observeMode = journal.Reason("observe_mode") // why a daemon changes nothing

	// ReasonNotWatched is the reason of a policy that no one looked at for two watches.
	ReasonNotWatched = string(health.NotWatched)

	HealthUnknown = "unknown" // not asked yet
	HealthDown    = "down"
	HealthRefused = "refused"
)

// Broken reports whether a row is about something that is down or refused.
func (r HealthRow) Broken() bool { return r.Health == HealthDown || r.Health == HealthRefused }

// getHealth says how everything is. A journal that does not answer is one of the things told.
func (c *Server) getHealth(r *http.Request) (any, error) {
	var rows []HealthRow
	if c.o.Scheduler != nil {
		row := HealthRow{Kind: KindDaemon, Name: c.o.Version}
		if c.o.Mode() == ModeObserve {
			row.Reason = text(string(observeMode))
		}
		rows = append(rows, trouble(row, c.asleep()))
	}
	ctx, cancel := context.WithTimeout(r.Context(), snapshotWait)
	defer cancel()
	found, err := c.o.Journal.Summaries(ctx)
	var known []journal.Team
	if err == nil {
		known, err = c.o.Journal.Teams(ctx)
	}
	wrong := ""
	if err != nil {
		c.o.Log.Warn("health is incomplete", "err", err)
		wrong = "the journal does not answer; see the log"
	} else if !(facts{c}).acts() {
		wrong = "the journal hands out no work; see the log"
	}
	rows = append(rows, trouble(HealthRow{Kind: KindJournal}, wrong))
	if err != nil {
		return rows, nil
	}
	return slices.Concat(rows, c.loadHealth(ctx), c.teamHealth(known), c.storeHealth(), c.policyHealth(found)), nil
}

// loadHealth reports what replicas last read from their files and refused.
func (c *Server) loadHealth(ctx context.Context) (rows []HealthRow) {
	all, err := c.o.Journal.Loads(ctx)
	if err != nil {
		c.o.Log.Warn("health is incomplete", "err", err)
		return nil
	}
	for _, l := range loadRows(all) {
		if l.OK {
			continue
		}
		detail, remedy := l.Line(c.o.Now(), false), "Correct the files, then rotator reload."
		if len(l.Errors) > 0 {
			detail += ": " + l.Errors[0]
		}
		rows = append(rows, HealthRow{Kind: KindConfiguration, Name: "as read by " + strings.Join(l.Replicas, ", "), Health: HealthRefused, Detail: &detail, Remedy: &remedy})
	}
	return rows
}

// trouble is the row with what is wrong; ok without.
func trouble(row HealthRow, wrong string) HealthRow {
	row.Health = HealthOK
	if wrong != "" {
		row.Health, row.Detail = HealthDown, &wrong
	}
	return row
}

func (c *Server) teamHealth(known []journal.Team) (rows []HealthRow) {
	if c.o.Teams == nil {
		return nil
	}
	for _, name := range c.o.Teams() {
		row := HealthRow{Kind: KindTeam, Name: name}
		why, _ := teamTrouble(name, known)
		if !slices.ContainsFunc(known, func(t journal.Team) bool { return t.Name == name }) {
			row.Health = HealthUnknown
			rows = append(rows, row)
			continue
		}
		rows = append(rows, trouble(row, strings.TrimPrefix(why, "team "+name+": ")))
	}
	return rows
}

func (c *Server) storeHealth() (rows []HealthRow) {
	if c.o.Stores == nil {
		return nil
	}
	names := slices.Clone(c.o.Stores())
	slices.Sort(names)
	for _, name := range names {
		row := HealthRow{Kind: KindStore, Name: name}
		words, _ := c.answers.troubled([]string{name}, c.o.Now())
		switch {
		case !c.answers.asked(name):
			row.Health = HealthUnknown
		case len(words) == 0:
			row.Health = HealthOK
		default:
			row = trouble(row, strings.TrimPrefix(words[0], "store "+name+": "))
		}
		rows = append(rows, row)
	}
	return rows
}

// policyHealth reports the policies, the worst first.
func (c *Server) policyHealth(found []journal.Summary) (rows []HealthRow) {
	all := c.statusRows(found)
	for _, word := range health.All {
		for _, r := range all {
			if r.Health == string(word) {
				rows = append(rows, HealthRow{Kind: KindPolicy, Name: r.Policy, Health: r.Health, Reason: r.HealthReason, Detail: r.Error, Remedy: r.Remedy})
			}
		}
	}
	return rows
}
