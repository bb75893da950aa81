package sqldb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// A table knows the columns of a type's rows: their names, and for a value the places they are read into and written
// from, in the same order.
type table[T any] struct {
	name    string
	names   []string // of the columns
	columns string   // the names, separated by ", "
	policy  int      // where in names the policy is, or -1
	fields  func(*T) []any
	insert  string // "INSERT INTO name (columns) VALUES ($1, …)"
}

func newTable[T any](name, columns string, fields func(*T) []any) table[T] {
	t := table[T]{name: name, names: strings.Fields(columns), fields: fields}
	t.columns = strings.Join(t.names, ", ")
	t.policy = slices.Index(t.names, "policy")
	marks := make([]string, len(t.names))
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	t.insert = fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", name, t.columns, strings.Join(marks, ", "))
	return t
}

// upsert is insert, and on a row of the same key (columns separated by ", ") an update of every other column if the row agrees to guard.
func (t table[T]) upsert(key, guard string) string {
	var set []string
	for _, c := range t.names {
		if !slices.Contains(strings.Split(key, ", "), c) {
			set = append(set, c+" = excluded."+c)
		}
	}
	return fmt.Sprintf("%s ON CONFLICT (%s) DO UPDATE SET %s%s", t.insert, key, strings.Join(set, ", "), guard)
}

// update sets every column but those of the key of a row that agrees to guard. Its parameters are those of insert.
func (t table[T]) update(guard string, key ...string) string {
	var set, where []string
	for i, c := range t.names {
		assign := fmt.Sprintf("%s = $%d", c, i+1)
		if slices.Contains(key, c) {
			where = append(where, assign)
		} else {
			set = append(set, assign)
		}
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE %s%s", t.name, strings.Join(set, ", "), strings.Join(where, " AND "), guard)
}

// state is " in state S" of a row's values, for an error that says which move was refused; "" of rows that have none.
func (t table[T]) state(args []any) string {
	if i := slices.Index(t.names, "state"); i >= 0 {
		return fmt.Sprintf(" in state %v", args[i])
	}
	return ""
}

// args are the values of a row, as the drivers take them.
func (t table[T]) args(v *T) []any {
	args := t.fields(v)
	for i, f := range args {
		args[i] = value(f)
	}
	return args
}

// all reads the rows that the rest of a SELECT finds.
func (t table[T]) all(ctx context.Context, q tx, rest string, args ...any) ([]T, error) {
	var rows []T
	var v T // every row sets every field
	fields := t.fields(&v)
	err := q.query(ctx, func(scan func(...any) error) error {
		if err := scan(fields...); err != nil {
			return err
		}
		rows = append(rows, v)
		return nil
	}, "SELECT "+t.columns+" FROM "+t.name+" "+rest, args...)
	return rows, err
}

// decode reads a row from a JSON array of its columns.
func (t table[T]) decode(row []byte) (v T, err error) {
	fields := t.fields(&v)
	for i, f := range fields {
		switch f := f.(type) { // JSON is read into pointers alone
		case instant:
			fields[i] = &f
		case flag:
			fields[i] = &f
		}
	}
	err = json.Unmarshal(row, &fields)
	return v, err
}

// first reads one row. journal.ErrNotFound.
func (t table[T]) first(ctx context.Context, q tx, rest string, args ...any) (T, error) {
	rows, err := t.all(ctx, q, rest, args...)
	if err == nil && len(rows) == 0 {
		err = journal.ErrNotFound
	}
	if err != nil {
		var none T
		return none, err
	}
	return rows[0], nil
}

// micros is a time as it is kept: microseconds since 1970, NULL for the zero time.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// instant is a time's place in a row.
type instant struct{ t *time.Time }

// Scan implements sql.Scanner.
func (i instant) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*i.t = time.Time{}
	case int64:
		*i.t = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("a time of type %T", v)
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler. It is not asked of null, which leaves the zero time.
func (i *instant) UnmarshalJSON(b []byte) error {
	var micro int64
	err := json.Unmarshal(b, &micro)
	*i.t = time.UnixMicro(micro).UTC()
	return err
}

// flag is a bool's place in a row.
type flag struct{ b *bool }

// Scan implements sql.Scanner.
func (f flag) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a flag of type %T", v)
	}
	*f.b = n != 0
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *flag) UnmarshalJSON(b []byte) error {
	*f.b = string(b) == "1"
	return nil
}

// bit is a bool as it is kept.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// round cuts the row's times to what the database keeps, so that a row just written equals the row read again.
func (t table[T]) round(v *T) {
	for _, f := range t.fields(v) {
		if at, ok := f.(instant); ok && !at.t.IsZero() {
			*at.t = time.UnixMicro(at.t.UnixMicro()).UTC()
		}
	}
}

func roundAll[T any](t table[T], rows []T) {
	for i := range rows {
		t.round(&rows[i])
	}
}
