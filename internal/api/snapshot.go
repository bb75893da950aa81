package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"rotator/rotation/journal"
)

const (
	snapshotAge  = time.Second // a snapshot serves everyone who looks within this time
	recentAge    = 10 * time.Second
	snapshotWait = 5 * time.Second // how long the journal may take
)

// snapshot is the journal as those see it who only look. It is not changed once it was made.
type snapshot struct {
	at       time.Time
	policies []journal.Summary
	teams    []journal.Team
	replicas []journal.Replica
	loads    []journal.Load
	keys     map[string]managementKey // team → its management key
	hygiene  map[string]hygiene       // team → how many of its keys are not as they should be
	ended    map[ending]int           // rotations that ended so since this process began
	size     int64                    // of the journal, in bytes
	backup   time.Time                // when the last one was made; zero: none that is known of
	told     int64                    // the last event that ended counts

	// targets reads the target map, once: few of those who look ask for it, and it is long.
	targets func() (map[string][]StatusTarget, error)
	// recent reads the newest rotations, once.
	recent func() ([]journal.Rotation, error)
}

// managementKey is the key that speaks for a team.
type managementKey struct {
	id    string
	since time.Time // in use; zero: not known
}

// hygiene counts what nothing is done about by itself.
type hygiene struct {
	wide, missing int
	unused        int // -1: billing did not say
}

// ending is how a rotation ended, and how far it had come.
type ending struct {
	outcome journal.Kind
	reached journal.State
}

// snapshots reads the journal once for all who look at the same time, however many there are.
type snapshots struct {
	server  *Server
	reading singleflight.Group
	last    atomic.Pointer[snapshot]
}

// endings are how far a rotation can have come when it ends, by the event that says how it ended.
var endings = map[journal.Kind][]journal.State{
	journal.Finished:      {journal.Live},
	journal.AbortEnded:    {journal.Planned, journal.Staged, journal.Verified},
	journal.RollbackEnded: {journal.Live},
	journal.TakenOver:     {journal.Planned, journal.Staged, journal.Verified, journal.Promoting},
}

// get returns a snapshot that is at most a second old.
func (s *snapshots) get() (*snapshot, error) {
	now := s.server.o.Now
	if last := s.last.Load(); last != nil && now().Sub(last.at) < snapshotAge {
		return last, nil
	}
	got, err, _ := s.reading.Do("", func() (any, error) {
		// Not the context of the first caller: others wait for the same answer.
		ctx, cancel := context.WithTimeout(context.Background(), snapshotWait)
		defer cancel()
		next, err := s.read(ctx, s.last.Load())
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		s.last.Store(next)
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return got.(*snapshot), nil
}

// recent is a snapshot for those who cannot wait for the journal: one that was made before, nil when there is none. Another one is
// made for the next time.
func (s *snapshots) recent() *snapshot {
	last := s.last.Load()
	if last == nil || s.server.o.Now().Sub(last.at) > recentAge {
		go s.get() //nolint:errcheck // the next one who asks hears of it
	}
	return last
}

func (s *snapshots) readTargets() (map[string][]StatusTarget, error) {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotWait)
	defer cancel()
	all, err := s.server.o.Journal.Targets(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return targetsOf(all), nil
}

func (s *snapshots) readRecent() ([]journal.Rotation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotWait)
	defer cancel()
	return s.server.o.Journal.Rotations(ctx, "", pageRotations)
}

func (s *snapshots) read(ctx context.Context, last *snapshot) (*snapshot, error) {
	c, next := s.server, &snapshot{at: s.server.o.Now(), keys: make(map[string]managementKey), ended: make(map[ending]int)}
	next.targets, next.recent = sync.OnceValues(s.readTargets), sync.OnceValues(s.readRecent)
	var err error
	if next.policies, err = c.o.Journal.Summaries(ctx); err != nil {
		return nil, err
	}
	if next.teams, err = c.o.Journal.Teams(ctx); err != nil {
		return nil, err
	}
	if c.o.Teams != nil { // what the journal knows of others is of former times
		configured := c.o.Teams()
		next.teams = slices.DeleteFunc(next.teams, func(t journal.Team) bool { return !slices.Contains(configured, t.Name) })
	}
	if next.replicas, err = c.o.Journal.Replicas(ctx); err != nil {
		return nil, err
	}
	if next.loads, err = c.o.Journal.Loads(ctx); err != nil {
		return nil, err
	}
	if err := s.readManagementKeys(ctx, next, last); err != nil {
		return nil, err
	}
	if err := s.readHygiene(ctx, next); err != nil {
		return nil, err
	}
	if next.size, err = c.o.Journal.Size(ctx); err != nil {
		return nil, err
	}
	made, err := c.o.Journal.Meta(ctx, journal.MetaBackup)
	if err != nil {
		return nil, err
	}
	next.backup, _ = time.Parse(time.RFC3339, made) // zero when it is no time: then nothing is reported
	for outcome, reached := range endings {         // those that did not happen yet are told as 0
		for _, state := range reached {
			next.ended[ending{outcome, state}] = 0
		}
	}
	if last == nil { // what ended before this process began was counted by another
		next.told, err = c.before(ctx, func(e journal.Event) bool { return !e.At.Before(c.started) })
	} else {
		next.told = last.told
		maps.Copy(next.ended, last.ended)
	}
	for err == nil {
		var found []journal.Event
		found, err = c.o.Journal.Events(ctx, next.told, eventPage)
		for _, e := range found {
			next.told = e.ID
			goneBack := e.Kind == journal.Finished && e.Data["trigger"] == string(journal.ByRollback) // counted when it was live
			if endings[e.Kind] != nil && !goneBack {
				next.ended[ending{e.Kind, journal.State(e.Data["reached"])}]++
			}
		}
		if len(found) < eventPage {
			break
		}
	}
	return next, err
}

// readHygiene reads what was last told of each team's keys.
func (s *snapshots) readHygiene(ctx context.Context, next *snapshot) error {
	next.hygiene = make(map[string]hygiene, len(next.teams))
	for _, t := range next.teams {
		h := hygiene{unused: -1}
		asked, err := s.server.o.Journal.Meta(ctx, journal.MetaUnusedAt+t.Name)
		if err != nil {
			return err
		}
		for kind, count := range map[journal.Kind]*int{journal.KeysWide: &h.wide, journal.KeysUnused: &h.unused, journal.RightsMissing: &h.missing} {
			if kind == journal.KeysUnused && asked == "" {
				continue
			}
			set, err := s.server.o.Journal.Meta(ctx, journal.MetaKeys(kind, t.Name))
			if err != nil {
				return err
			}
			*count = len(strings.Fields(set))
		}
		next.hygiene[t.Name] = h
	}
	return nil
}

// readManagementKeys reads since when each team's management key is in use, once for each key.
func (s *snapshots) readManagementKeys(ctx context.Context, next, last *snapshot) error {
	for _, t := range next.teams {
		if t.ManagementKeyID == "" {
			continue
		}
		if last != nil && last.keys[t.Name].id == t.ManagementKeyID {
			next.keys[t.Name] = last.keys[t.Name]
			continue
		}
		text, err := s.server.o.Journal.Meta(ctx, journal.MetaManagementKey+t.Name)
		if err != nil {
			return err
		}
		if id, at, _ := strings.Cut(text, " "); id == t.ManagementKeyID { // else it is being written
			since, _ := time.Parse(time.RFC3339, at) // zero when it is not: then nothing is reported
			next.keys[t.Name] = managementKey{id, since}
		}
	}
	return nil
}
