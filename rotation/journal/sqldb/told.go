package sqldb

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// told are the events of policies that were added, changed or came back, in the order of their names.
func (d *differences) told(at time.Time, r journal.Reading, named map[string]*journal.Spec) (events []journal.Event) {
	for i := range r.Specs {
		s := &r.Specs[i]
		if !d.known[s.Name] {
			data := map[string]string{"team": s.Team, "owner": s.Owner, "file": s.File, "policy": shortened(s.Canonical)}
			maps.DeleteFunc(data, func(_, v string) bool { return v == "" })
			events = append(events, journal.Event{At: at, Policy: s.Name, Kind: journal.PolicyAdded, Data: data})
		}
	}
	for _, name := range d.changed {
		s, was := named[name], d.was[name]
		data := specChanges(was, s)
		kind := journal.PolicyChanged
		if !was.RemovedAt.IsZero() {
			kind = journal.PolicyReturned
		} else if len(data) == 0 {
			continue // only the refusal of an edit was taken back
		}
		data["file"] = s.File
		events = append(events, journal.Event{At: at, Policy: name, Kind: kind, Data: data})
	}
	slices.SortStableFunc(events, func(a, b journal.Event) int { return strings.Compare(a.Policy, b.Policy) })
	return events
}

// specChanges says what an edit changed: part → "before → after". A policy names keys and places, and holds no secret.
func specChanges(was journal.Policy, s *journal.Spec) map[string]string {
	before, after := map[string]string{"team": was.Team, "owner": was.Owner}, map[string]string{"team": s.Team, "owner": s.Owner}
	flatten(before, "", was.Spec)
	flatten(after, "", s.Canonical)
	data := make(map[string]string)
	for name := range maps.Keys(before) {
		if before[name] != after[name] {
			data[name] = shortened(before[name]) + " → " + shortened(after[name])
		}
	}
	for name, v := range after {
		if _, known := before[name]; !known {
			data[name] = " → " + shortened(v)
		}
	}
	return data
}

// flatten takes a policy's canonical form apart, to its parts of two names: key.acls.
func flatten(into map[string]string, under, text string) {
	var parts map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &parts) != nil {
		if under == "" && text != "" {
			into["policy"] = text
		}
		return
	}
	for name, v := range parts {
		if under == "" && len(v) > 0 && v[0] == '{' {
			flatten(into, name+".", string(v))
		} else {
			into[under+name] = string(v)
		}
	}
}

// shortened bounds what an event says of one part.
func shortened(s string) string {
	const most = 2000
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// left are the events of policies that the files do not have any more. People are told by one: a replica with the files of
// yesterday, or with none, may have lost thousands.
func left(at time.Time, names []string) (events []journal.Event) {
	const most = 20
	slices.Sort(names)
	for _, name := range names {
		events = append(events, journal.Event{At: at, Policy: name, Kind: journal.PolicyLeft})
	}
	list := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		list += fmt.Sprintf(", and %d more", more)
	}
	return append(events, journal.Event{At: at, Kind: journal.PolicyRemoved, Data: map[string]string{"policies": list, "count": fmt.Sprint(len(names))}})
}

// reloaded tells of a reading that someone asked for.
func reloaded(at time.Time, r journal.Reading, d differences, gone []string) journal.Event {
	data := map[string]string{"by": r.By, "replica": r.Load.Replica, "policies": fmt.Sprint(len(r.Specs) + len(d.kept))}
	for name, n := range map[string]int{"added": len(r.Specs) - len(d.known), "changed": len(d.changed), "removed": len(gone), "problems": r.Load.Problems} {
		if n > 0 {
			data[name] = fmt.Sprint(n)
		}
	}
	return journal.Event{At: at, Kind: journal.Reloaded, Data: data}
}

// renamed tells that a policy has another name, and for each of its keys that is not gone that it went with it: the gate wants a
// key to be explained under the name that its policy has now.
func renamed(ctx context.Context, t tx, at time.Time, from, to string) ([]journal.Event, error) {
	all, err := keys.all(ctx, t, "WHERE policy = $1 AND id <> '' AND "+notGone+" ORDER BY ref", to)
	if err != nil {
		return nil, fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	events := []journal.Event{{At: at, Policy: to, Kind: journal.PolicyRenamed, Data: map[string]string{"from": from}}}
	for i := range all {
		e := journal.Event{At: at, Policy: to, Kind: journal.KeyMoved, Data: map[string]string{"from": from}}
		for said := range slices.Chunk(all[i].Explanation(), 2) {
			e.Data[said[0]] = said[1]
		}
		events = append(events, e)
	}
	return events, nil
}
