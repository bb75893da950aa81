package sqldb

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
)

// fill sets every field of a struct to a value of its own.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch f := v.Addr().Interface().(type) {
	case *time.Time:
		*f = time.UnixMicro(int64(*n) * 1e6).UTC()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("no column for %s", v.Type())
	}
}

// testColumns shows that every field of T has one column, that columns and fields stand in the same order as far as
// their values can tell, and that what is written comes back.
func testColumns[T comparable](t *testing.T, from table[T]) {
	t.Run(from.name, func(t *testing.T) {
		t.Parallel()
		var full, back T
		n := 0
		fill(t, reflect.ValueOf(&full).Elem(), &n)
		args := from.args(&full)
		if names := strings.Split(from.columns, ", "); len(names) != len(args) {
			t.Fatalf("%d columns for %d fields", len(names), len(args))
		}
		for i, dest := range from.fields(&back) {
			switch d := dest.(type) {
			case *string:
				*d = args[i].(string)
			case *int:
				*d = int(args[i].(int64))
			case *int64:
				*d = args[i].(int64)
			case instant:
				if err := d.Scan(args[i]); err != nil {
					t.Fatal(err)
				}
			case flag:
				if err := d.Scan(args[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if back != full {
			t.Errorf("wrote %+v\nread  %+v", full, back)
		}
	})
}

func TestEveryFieldHasAColumn(t *testing.T) {
	t.Parallel()
	testColumns[journal.Policy](t, policies)
	testColumns[journal.Rotation](t, rotations)
	testColumns[journal.Attempt](t, attempts)
	testColumns[journal.Key](t, keys)
	testColumns[journal.Target](t, targets)
	testColumns[journal.Order](t, orders)
	testColumns[journal.Hold](t, holds)
	testColumns[journal.Team](t, teams)
}
