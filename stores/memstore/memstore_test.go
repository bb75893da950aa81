package memstore_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/stores/storetest"
)

func TestConformance(t *testing.T) {
	s := memstore.New()
	var n atomic.Int64
	target := func(field string) func(*testing.T) stores.Target {
		return func(*testing.T) stores.Target {
			return stores.Target{Path: fmt.Sprint("t", n.Add(1)), Field: field}
		}
	}
	storetest.Run(t, storetest.Harness{
		Store: s, Structured: target("api_key"), Whole: target(""),
		Seed: func(_ *testing.T, at stores.Target, doc string) { s.Set(at.Path, doc) },
		Read: func(_ *testing.T, at stores.Target) (string, bool) { return s.Doc(at.Path) },
		Leftovers: func(_ *testing.T, at stores.Target) (out []string) {
			for _, l := range s.Leftovers() {
				if strings.HasPrefix(l, at.Path+"#") {
					out = append(out, l)
				}
			}
			return out
		},
		CanStage: true, StagesEmpty: true, KeepsPrevious: true, HasCAS: true,
	})
}
