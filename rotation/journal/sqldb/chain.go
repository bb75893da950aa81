package sqldb

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"rotator/rotation/journal"
)

// chain is what events add to the chain of one policy. Its last link stands in the policy's row, which whoever writes events of the
// policy holds: so the links need no lock and no statement of their own.
type chain struct {
	policy string
	before string // the link that the first event follows
	head   string // the link of the last one
	events []journal.Chained
}

// chainOf makes a chain of the events of a policy, and returns the others.
func chainOf(policy string, events []journal.Event) (own *chain, others []journal.Event, err error) {
	own = &chain{policy: policy}
	for i := range events {
		if events[i].Policy != policy {
			others = append(others, events[i])
			continue
		}
		c, err := chained(events[i])
		if err != nil {
			return nil, nil, err
		}
		own.events = append(own.events, c)
	}
	return own, others, nil
}

func chained(e journal.Event) (journal.Chained, error) {
	text, err := encodeData(e.Data)
	if err != nil {
		return journal.Chained{}, fmt.Errorf("event %s: %w", e.Kind, err)
	}
	return journal.Chained{Event: e, Text: text, KeyRef: e.Explains()}, nil
}

// follow links the events to the one that before is the link of.
func (c *chain) follow(before string) {
	c.before, c.head = before, before
	for i := range c.events {
		c.head = link(&c.events[i], c.head, c.policy != "")
	}
}

// link gives an event its link, and returns that.
func link(c *journal.Chained, before string, own bool) string {
	c.Before = ""
	if c.KeyRef != "" {
		c.Before = before
	}
	c.Link = c.LinkAfter(before, own)
	return c.Link
}

// insertChained writes events that are linked. None is no statement.
func insertChained(ctx context.Context, e engine, t tx, events []journal.Chained) error {
	const most = 200
	for some := range slices.Chunk(events, most) {
		args := make([]any, 0, eventWidth*len(some))
		for i := range some {
			c := &some[i]
			args = append(args, micros(c.At), c.Policy, c.Rotation, string(c.Kind), c.Text, c.Link, c.Before, c.KeyRef)
		}
		if _, err := t.exec(ctx, e.insertEvents(len(some)), args...); err != nil {
			return fmt.Errorf("events: %w", err)
		}
	}
	return nil
}

// append writes events, after all else that the transaction does. Those of policies that the journal does not have are in the
// installation's chain.
func (db *DB) append(ctx context.Context, t tx, events []journal.Event) error {
	if len(events) == 0 {
		return nil
	}
	all := make([]journal.Chained, len(events))
	named := make(map[string]bool)
	for i := range events {
		var err error
		if all[i], err = chained(events[i]); err != nil {
			return err
		}
		if p := events[i].Policy; p != "" {
			named[p] = true
		}
	}
	names := slices.Sorted(maps.Keys(named))
	db.recent.drop(names...)
	heads, err := db.holdHeads(ctx, t, names)
	if err != nil {
		return err
	}
	_, begun := heads[""]
	for i := range all {
		of := all[i].Policy
		if _, known := heads[of]; !known {
			of = ""
		}
		if of == "" && !begun {
			begun = true
			if heads[""], err = holdInstallation(ctx, t); err != nil {
				return err
			}
		}
		heads[of] = link(&all[i], heads[of], of != "")
	}
	if err := db.writeHeads(ctx, t, heads); err != nil {
		return err
	}
	return insertChained(ctx, db.engine, t, all)
}

// holdHeads returns the last links of the policies that there are, and holds their rows. All who hold several take them in one
// order.
func (db *DB) holdHeads(ctx context.Context, t tx, names []string) (map[string]string, error) {
	heads := make(map[string]string, len(names))
	if len(names) == 0 {
		return heads, nil
	}
	these, list := db.oneOf(1, names)
	err := t.query(ctx, func(scan func(...any) error) error {
		var name, head string
		err := scan(&name, &head)
		heads[name] = head
		return err
	}, `SELECT name, chain FROM policies WHERE name `+these+` ORDER BY name`+db.lockRow(), list)
	return heads, err
}

// holdInstallation returns the last link of the installation's chain, and holds its row. It comes after the rows of policies.
func holdInstallation(ctx context.Context, t tx) (head string, err error) {
	_, err = one(ctx, t, []any{&head}, `INSERT INTO meta (name, value) VALUES ($1, '')
		ON CONFLICT (name) DO UPDATE SET value = meta.value RETURNING value`, journal.MetaChain)
	return head, err
}

func (db *DB) writeHeads(ctx context.Context, t tx, heads map[string]string) error {
	var rows [][]any
	for _, name := range slices.Sorted(maps.Keys(heads)) {
		if name != "" {
			rows = append(rows, []any{name, heads[name]})
		}
	}
	if err := db.updateAll(ctx, t, putHeads, rows, func(string) {}); err != nil {
		return err
	}
	if head, ok := heads[""]; ok {
		_, err := t.exec(ctx, setMeta, journal.MetaChain, head)
		return err
	}
	return nil
}

var putHeads = updates{
	table: "policies",
	names: []string{"name", "chain"},
	kinds: []string{"TEXT", "TEXT"},
	set:   "chain = v.column2",
	where: "name = v.column1",
}
