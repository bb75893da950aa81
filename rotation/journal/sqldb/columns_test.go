package sqldb

import (
	"encoding/json"
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

// testColumns shows that every field of T has the column of its name, and that what is written comes back.
func testColumns[T comparable](t *testing.T, from table[T]) {
	t.Run(from.name, func(t *testing.T) {
		t.Parallel()
		var full, back T
		n := 0
		fill(t, reflect.ValueOf(&full).Elem(), &n)
		args := from.args(&full)
		if len(from.names) != len(args) {
			t.Fatalf("%d columns for %d fields", len(from.names), len(args))
		}
		fields := make(map[any]string) // a field's address → its name
		nameFields(fields, reflect.ValueOf(&back).Elem())
		for i, dest := range from.fields(&back) {
			if field := fields[address(dest)]; !sameWord(field, from.names[i]) {
				t.Errorf("field %s is in column %s", field, from.names[i])
			}
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
		row, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		if back, err = from.decode(row); err != nil || back != full {
			t.Errorf("wrote  %+v\ndecode %+v, %v", full, back, err)
		}
	})
}

// address is where a field's place in a row lies.
func address(dest any) any {
	switch d := dest.(type) {
	case instant:
		return reflect.ValueOf(d.t).Pointer()
	case flag:
		return reflect.ValueOf(d.b).Pointer()
	}
	return reflect.ValueOf(dest).Pointer()
}

func nameFields(names map[any]string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]() {
			nameFields(names, f)
			continue
		}
		names[f.Addr().Pointer()] = v.Type().Field(i).Name
	}
}

// sameWord reports whether a column has its field's name: OldKeyIDs is old_key_ids.
func sameWord(field, column string) bool {
	switch column {
	case "said_by":
		return field == "By" // BY is a word of SQL's
	case "said_from":
		return field == "From" // FROM too
	case "key_ref":
		return field == "Key" || field == "KeyRef" // KEY is one too
	case "target_store", "target_path", "target_field":
		column = strings.TrimPrefix(column, "target_")
	}
	return strings.EqualFold(field, strings.ReplaceAll(column, "_", ""))
}

func TestEveryFieldHasAColumn(t *testing.T) {
	t.Parallel()
	testColumns[journal.Policy](t, policies)
	testColumns[journal.Rotation](t, rotations)
	testColumns[journal.Key](t, keys)
	testColumns[journal.Effect](t, effects)
	testColumns[journal.Sighting](t, sightings)
	testColumns[journal.Target](t, targets)
	testColumns[journal.Order](t, orders)
	testColumns[journal.Hold](t, holds)
	testColumns[journal.Team](t, teams)
	testColumns[journal.Load](t, loads)
}
