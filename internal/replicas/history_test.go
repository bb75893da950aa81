package replicas

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rotator/rotation/journal"
)

// stages are the events of a rotation that goes forward, in their order.
var stages = []journal.Kind{journal.Started, journal.KeyStaged, journal.KeyVerified, journal.PromoteBegun, journal.Promoted, journal.Finished}

// endings are the events after which a rotation is over and the next may begin. What is left of one that is live is told
// later: the keys that it replaced are gone.
var endings = []journal.Kind{journal.Promoted, journal.RollbackEnded, journal.Healed, journal.AbortEnded, journal.TakenOver}

// tale is what the events told of one rotation so far.
type tale struct {
	stage    int // index in stages
	created  string
	promoted string
	over     bool
	existing bool // it makes a key live that there was
}

// checkHistory reads the journal's events as one story and returns what cannot have happened if never two replicas acted
// for one policy: rotations that overlap, stages out of order or told twice, two keys promoted for one rotation, a key
// made after the point of no return, and a key that was retired while it was the one in use.
func checkHistory(events []journal.Event) (wrong []string) {
	rotations := make(map[string]*tale)
	inFlight := make(map[string]string) // policy → rotation
	current := make(map[string]string)  // policy → key in use
	gone := make(map[string]bool)       // key ids that were deleted
	last := int64(0)
	for _, e := range events {
		fail := func(format string, args ...any) {
			wrong = append(wrong, fmt.Sprintf("event %d, %s of %s, rotation %s: %s", e.ID, e.Kind, e.Policy, e.Rotation, fmt.Sprintf(format, args...)))
		}
		if e.ID <= last {
			fail("after event %d", last)
		}
		last = e.ID
		key := e.Data["key_id"]
		switch e.Kind {
		case journal.KeyDisabled, journal.KeyDeleted:
			if key == current[e.Policy] {
				fail("key %s is in use", key)
			}
			if gone[key] {
				fail("key %s was deleted before", key)
			}
			gone[key] = e.Kind == journal.KeyDeleted
		}
		if e.Rotation == "" {
			continue
		}
		r := rotations[e.Rotation]
		if r == nil {
			r = &tale{stage: -1}
			rotations[e.Rotation] = r
			if e.Kind != journal.Started {
				fail("it was never started")
			}
			if other := inFlight[e.Policy]; other != "" {
				fail("rotation %s is in flight", other)
			}
			inFlight[e.Policy] = e.Rotation
		}
		if r.over && e.Kind != journal.Finished && (slices.Contains(stages, e.Kind) || slices.Contains(endings, e.Kind) || e.Kind == journal.KeyCreated) {
			fail("the rotation was over")
		}
		r.follow(e, fail)
		if slices.Contains([]journal.Kind{journal.Promoted, journal.RollbackEnded, journal.Healed}, e.Kind) {
			current[e.Policy] = key
		}
		if slices.Contains(endings, e.Kind) {
			r.over = true
			if inFlight[e.Policy] == e.Rotation {
				delete(inFlight, e.Policy)
			}
		}
	}
	return wrong
}

// follow takes the rotation on by an event.
func (r *tale) follow(e journal.Event, fail func(string, ...any)) {
	point := slices.Index(stages, journal.PromoteBegun)
	key := e.Data["key_id"]
	switch e.Kind {
	case journal.Started:
		r.existing = e.Data["trigger"] == string(journal.ByRollback) || e.Data["trigger"] == string(journal.ByHealing)
	case journal.KeyCreated:
		if r.stage >= point {
			fail("after the point of no return")
		}
		r.created, r.stage = key, 0 // another key starts over
	case journal.TargetPromoted, journal.Promoted:
		if key != r.created && !r.existing {
			fail("key %s, and the rotation made %s", key, r.created)
		}
		if r.promoted != "" && r.promoted != key {
			fail("key %s, and %s was promoted before", key, r.promoted)
		}
		r.promoted = key
	}
	if to := slices.Index(stages, e.Kind); to >= 0 && !r.existing {
		again := to <= r.stage && r.stage < point && to > 0 // proved again before the promote
		if to != r.stage+1 && !again {
			fail("after %s", stages[max(r.stage, 0)])
		}
		r.stage = to
	}
}

// TestHistoryChecker: the check finds what it is there for.
func TestHistoryChecker(t *testing.T) {
	t.Parallel()
	story := func(lines ...string) (events []journal.Event) {
		for i, line := range lines {
			f := strings.Fields(line + " -")
			e := journal.Event{ID: int64(i + 1), Policy: "p", Rotation: f[0], Kind: journal.Kind(f[1]), Data: map[string]string{}}
			if f[2] != "-" {
				e.Data["key_id"] = f[2]
			}
			events = append(events, e)
		}
		return events
	}
	good := []string{"r1 started", "r1 key_created k1", "r1 staged", "r1 verified", "r1 promoting", "r1 target_promoted k1",
		"r1 promoted k1", "r1 done", "r2 started", "r2 key_created k2", "r2 key_created k3", "r2 staged", "r2 verified", "r2 promoting",
		"r2 target_promoted k3", "r2 promoted k3", "r3 started", "r2 key_disabled k1", "r2 key_deleted k1", "r2 done", "r3 superseded"}
	if wrong := checkHistory(story(good...)); wrong != nil {
		t.Errorf("a good story: %q", wrong)
	}
	put := func(at int, line string) []journal.Event {
		return story(slices.Insert(slices.Clone(good), at, line)...)
	}
	for name, bad := range map[string][]journal.Event{
		"two in flight":         put(4, "r9 started"),
		"told twice":            put(7, "r1 promoted k1"),
		"another key promoted":  put(15, "r2 target_promoted k2"),
		"a late create":         put(14, "r2 key_created k4"),
		"a key in use disabled": put(17, "r2 key_disabled k3"),
		"deleted twice":         put(19, "r2 key_deleted k1"),
		"done twice":            put(20, "r2 done"),
		"after the end":         put(8, "r1 promoting"),
		"a stage left out":      story(slices.Delete(slices.Clone(good), 3, 4)...),
		"out of order":          append(story(good...), journal.Event{ID: 3, Kind: journal.HoldSet}),
	} {
		if checkHistory(bad) == nil {
			t.Errorf("%s is not found", name)
		}
	}
}
