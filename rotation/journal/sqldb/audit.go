package sqldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"rotator/rotation/journal"
)

const chainedColumns = "id, at, policy, rotation, kind, data, link, link_before, key_ref"

// chainedRow is where the columns of an event are read into.
type chainedRow struct{ journal.Chained }

func (r *chainedRow) fields() []any {
	return []any{&r.ID, instant{&r.At}, &r.Policy, &r.Rotation, (*string)(&r.Kind), &r.Text, &r.Link, &r.Before, &r.KeyRef}
}

// decode reads what the event says. A text that is no JSON object is one that someone wrote over: it says nothing.
func (r *chainedRow) decode() {
	r.Data = nil
	if r.Text == "" || json.Unmarshal([]byte(r.Text), &r.Data) != nil {
		r.Data = nil
	}
}

// Explanations implements journal.Auditor.
func (db *DB) Explanations(ctx context.Context, ref string) (all []journal.Chained, err error) {
	err = db.ask(ctx, func(ctx context.Context, t tx) error {
		all = nil
		var row chainedRow
		return t.query(ctx, func(scan func(...any) error) error {
			err := scan(row.fields()...)
			row.decode()
			all = append(all, row.Chained)
			return err
		}, `SELECT `+chainedColumns+` FROM events WHERE key_ref = $1 AND key_ref <> '' ORDER BY id DESC`, ref)
	})
	if err != nil {
		return nil, fmt.Errorf("how key %s became ours: %w", ref, err)
	}
	return all, nil
}

// ReadTrail implements journal.Auditor.
func (db *DB) ReadTrail(ctx context.Context, to journal.Trail) error {
	err := db.read(ctx, func(ctx context.Context, t tx) error {
		if err := db.unhurried(ctx, t); err != nil {
			return err
		}
		var row chainedRow
		err := t.query(ctx, func(scan func(...any) error) error {
			err := scan(&row.ID, &row.Text)
			row.decode()
			to.Noted(row.ID, row.Data["note"])
			return err
		}, `SELECT id, data FROM events WHERE kind = $1 ORDER BY id`, string(journal.Checkpointed))
		if err != nil {
			return err
		}
		err = t.query(ctx, func(scan func(...any) error) error {
			err := scan(row.fields()...)
			row.decode()
			to.Event(&row.Chained)
			return err
		}, `SELECT `+chainedColumns+` FROM events ORDER BY id`)
		if err != nil {
			return err
		}
		var h journal.Head
		err = t.query(ctx, func(scan func(...any) error) error {
			err := scan(&h.Policy, &h.Link)
			to.Head(h)
			return err
		}, `SELECT name, chain FROM policies UNION ALL SELECT '', value FROM meta WHERE name = $1`, journal.MetaChain)
		if err != nil {
			return err
		}
		var k journal.Key
		return t.query(ctx, func(scan func(...any) error) error {
			err := scan(keys.fields(&k)...)
			to.Key(&k)
			return err
		}, `SELECT `+keys.columns+` FROM keys WHERE id <> ''`)
	})
	if err != nil {
		return fmt.Errorf("read the audit trail: %w", err)
	}
	return nil
}

// errOvertaken: another process made a checkpoint meanwhile.
var errOvertaken = errors.New("another process made the checkpoint")

// Checkpoint implements journal.Auditor. Two that overtake each other make one.
func (db *DB) Checkpoint(ctx context.Context, now time.Time, seal journal.Seal) (made bool, err error) {
	text, err := db.Meta(ctx, journal.MetaCheckpoint)
	var c journal.Checkpoint
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &c.Before)
	}
	if err == nil {
		c.At, c.Now = now, c.Before
		c.Installation, err = db.Meta(ctx, metaInstallation)
	}
	news := false
	if err == nil {
		news, err = db.progress(ctx, &c.Now)
	}
	if err != nil || !news {
		return false, wrapped("checkpoint", err)
	}
	c.Now.Number++
	note, digest, err := seal(c)
	if err != nil {
		return false, wrapped("checkpoint", err)
	}
	c.Now.Digest = digest
	next, err := json.Marshal(c.Now)
	if err != nil {
		return false, err
	}
	e := journal.Event{At: now, Kind: journal.Checkpointed, Data: map[string]string{"note": note, "number": fmt.Sprint(c.Now.Number)}}
	err = db.writeTo(ctx, func(ctx context.Context, t tx) error {
		if err := db.append(ctx, t, []journal.Event{e}); err != nil { // it holds the installation's chain
			return err
		}
		was := ""
		if _, err := one(ctx, t, []any{&was}, `SELECT value FROM meta WHERE name = $1`, journal.MetaCheckpoint); err != nil {
			return err
		}
		if was != text {
			return errOvertaken
		}
		_, err := t.exec(ctx, setMeta, journal.MetaCheckpoint, string(next))
		return err
	})
	if errors.Is(err, errOvertaken) {
		return false, nil
	}
	return err == nil, wrapped("checkpoint", err)
}

// progress goes on over the events that there are, and reports whether one of them is no checkpoint.
func (db *DB) progress(ctx context.Context, p *journal.Progress) (news bool, err error) {
	const page = 5000
	for {
		n := 0
		err := db.readEvents(ctx, func(scan func(...any) error) error {
			var id int64
			var kind, link string
			err := scan(&id, &kind, &link)
			n++
			news = news || kind != string(journal.Checkpointed)
			p.Add(id, link)
			return err
		}, `SELECT id, kind, link FROM events WHERE id > $1 ORDER BY id LIMIT $2`, p.Upto, page)
		if err != nil || n < page {
			return news, err
		}
	}
}

func wrapped(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}
