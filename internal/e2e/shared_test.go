package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/xai/xaisim"
)

// TestManyKeysInOneSecret: fifteen policies have a field each in one AWS secret and in one Vault path, and are rotated at once
// by two replicas. Each promotion costs one version, and all of them can be rolled back although Vault keeps ten versions.
func TestManyKeysInOneSecret(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		manyKeys(t, func(p *parts) []*sqldb.DB { j := openJournal(t, p); return []*sqldb.DB{j, j} })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		url := postgrestest.Start(t).Database(t)
		manyKeys(t, func(*parts) (replicas []*sqldb.DB) {
			for range 2 {
				j, err := sqldb.Open(t.Context(), url, sqldb.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = j.Close() })
				replicas = append(replicas, j)
			}
			return replicas
		})
	})
}

func manyKeys(t *testing.T, open func(*parts) []*sqldb.DB) {
	const n = 15
	p := newParts(t, xaisim.Options{Latency: 5 * time.Millisecond})
	p.vault.Write(t, p.mount, "llm/chat", `{"db":"postgres"}`)
	p.aws.Region(region).Put("prod/shared", `{"db":"postgres"}`)
	var docs []string
	for i := range n {
		docs = append(docs, fmt.Sprintf("name: p%02d\nteam: research\nschedule: \"@every 720h\"\nkey: {acls: %s}\nretire: {overlap: 1h, soak: 1h}\n"+
			"targets: [{store: aws, path: prod/shared, field: f%02[1]d}, {store: vault, path: llm/chat, field: f%02[1]d}]\n", i, acls))
	}
	replicas := open(p)
	j := replicas[0]
	load(t, j, strings.Join(docs, "---\n"))
	w := newWorld(t, p, "")
	running, end := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for i, owner := range []string{"one", "two"} {
		engine := newScheduler(owner, rotation.Options{Journal: replicas[i], Environment: w, Limits: rotation.Limits{MaxBackoff: time.Second}})
		go func() { ended <- engine.Run(running) }()
	}
	keys := func() map[string]string {
		all, err := j.Summaries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]string{}
		for _, s := range all {
			ids[s.Policy.Name] = s.Policy.KeyID
		}
		return ids
	}
	order := func(o journal.Order) {
		for i := range n {
			o.Policy, o.At = fmt.Sprintf("p%02d", i), time.Now()
			if _, err := j.Place(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the first keys are live", func() bool { return lives(t, j) == n })
	first := keys()
	count := func(action string, which func(label string) bool) (n int) {
		for _, c := range p.aws.Calls() {
			if c.Action == action && slices.ContainsFunc(c.Labels, which) {
				n++
			}
		}
		return n
	}
	puts := func() int { // but those by which a right is checked
		return count("PutSecretValue", func(label string) bool { return label != "rotator-check" })
	}
	moves := func() int {
		return count("UpdateSecretVersionStage", func(label string) bool { return label == "AWSCURRENT" })
	}
	before, moved, began := puts(), moves(), time.Now()
	order(journal.Order{Kind: journal.OrderRotate, Trigger: journal.ByHand})
	eventually(t, "all are rotated", func() bool { return lives(t, j) == 2*n })
	t.Logf("%d rotations at once took %v and %d versions in AWS", n, time.Since(began).Round(time.Millisecond), puts()-before)
	// One version to stage, one to promote where another promotion came between, and no promotion that met another one.
	if versions, moved := puts()-before, moves()-moved; versions > 2*n || moved != n {
		t.Errorf("%d rotations wrote %d versions to AWS, and tried %d times to make one current", n, versions, moved)
	}
	order(journal.Order{Kind: journal.OrderRollback})
	eventually(t, "all are rolled back", func() bool {
		for name, id := range keys() {
			if id != first[name] {
				return false
			}
		}
		return true
	})
	end()
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("the engine ended with %v", err)
		}
	}
	var alarms []string
	events, err := j.Events(t.Context(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == journal.Failed || e.Kind == journal.WaitsForHuman || e.Kind == journal.Drifted {
			alarms = append(alarms, fmt.Sprint(e.Policy, e.Kind, e.Data))
		}
	}
	if len(alarms) > 0 {
		t.Errorf("alarms: %v", alarms)
	}
	doc, _ := p.vault.Read(t, p.mount, "llm/chat")
	if f := fields(t, doc); len(f) != n+1 || f["db"] != "postgres" {
		t.Errorf("the Vault secret holds %d fields", len(f))
	}
}
