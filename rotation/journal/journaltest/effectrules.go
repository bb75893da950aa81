package journaltest

import (
	"errors"
	"time"

	"rotator/rotation/journal"
)

var effectRules = []promise{
	{"an effect is on a key or on a target", func(k *kit) {
		c, rec := k.start("a")
		for _, kind := range []journal.EffectKind{
			journal.EffectCreate, journal.EffectUpdate, journal.EffectEnable, journal.EffectDisable, journal.EffectDelete,
			journal.EffectStage, journal.EffectUnstage, journal.EffectPromote, journal.EffectFence,
		} {
			wrong := k.effect("a", "ref", kind)
			if kind.OnTarget() {
				wrong.Target = journal.TargetID{}
			} else {
				wrong.Target = target("a", "one").TargetID
			}
			spoiled := copyOf(rec)
			spoiled.Effects = append(spoiled.Effects, wrong)
			if err := k.j.Commit(k.Context(), c, spoiled, false); !errors.Is(err, journal.ErrForbidden) {
				k.Errorf("%s on %q: %v", kind, wrong.Target, err)
			}
			if !kind.OnTarget() {
				spoiled.Effects[len(spoiled.Effects)-1] = k.effect("a", "", kind) // of no key
				k.refused(k.j.Commit(k.Context(), c, spoiled, false), journal.ErrForbidden)
			}
			rec.Effects = append(rec.Effects, k.effect("a", "ref", kind))
			k.ok(k.j.Commit(k.Context(), c, rec, false))
		}
		k.equal("effects", k.load("a").Effects, rec.Effects)
	}},
	{"an effect that may still land is not closed", func(k *kit) {
		c, rec := k.start("a")
		for s, may := range map[journal.EffectState]bool{
			journal.EffectOpen: false, journal.EffectUnknown: false,
			journal.EffectDone: true, journal.EffectRefused: true, journal.EffectWithdrawn: true, journal.EffectSettled: true,
		} {
			e := k.effect("a", "ref", journal.EffectUpdate)
			rec.Effects = append(rec.Effects, e)
			k.ok(k.j.Commit(k.Context(), c, rec, false))
			tried := copyOf(rec)
			last := &tried.Effects[len(tried.Effects)-1]
			last.State, last.ClosedAt = s, now()
			err := k.j.Commit(k.Context(), c, tried, false)
			if may != (err == nil) || (err != nil && !errors.Is(err, journal.ErrForbidden)) {
				k.Errorf("%s, closed: %v", s, err)
			}
			rec = k.load("a")
		}
		k.equal("effects that are not closed", len(rec.Effects), 2)
	}},
	{"what is closed stays closed, and what was sent is not open again", func(k *kit) {
		c, rec := k.start("a")
		rec.Effects = []journal.Effect{k.effect("a", "ref", journal.EffectUpdate), k.effect("a", "ref", journal.EffectDelete)}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		rec.Effects[0].State = journal.EffectUnknown
		rec.Effects[1].State, rec.Effects[1].ClosedAt = journal.EffectRefused, now()
		closed := rec.Effects[1]
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		before := k.load("a")
		for what, spoil := range map[string]func(*journal.Record){
			"open again": func(rec *journal.Record) { rec.Effects[0].State = journal.EffectOpen },
			"other key":  func(rec *journal.Record) { rec.Effects[0].Key = "other" },
			"other kind": func(rec *journal.Record) { rec.Effects[0].Kind = journal.EffectDisable },
			"other time": func(rec *journal.Record) { rec.Effects[0].At = now().Add(time.Hour) },
			"an id twice": func(rec *journal.Record) {
				e := k.effect("a", "ref", journal.EffectUpdate)
				e.ID = closed.ID
				rec.Effects = append(rec.Effects, e)
			},
			"other policy": func(rec *journal.Record) {
				rec.Effects = append(rec.Effects, k.effect("b", "ref", journal.EffectUpdate))
			},
		} {
			spoiled := copyOf(before)
			spoil(spoiled)
			if err := k.j.Commit(k.Context(), c, spoiled, false); !errors.Is(err, journal.ErrForbidden) {
				k.Errorf("%s: %v", what, err)
			}
		}
		k.equal("record", k.load("a"), before)
		before.Effects[0].State, before.Effects[0].ClosedAt = journal.EffectSettled, now()
		k.ok(k.j.Commit(k.Context(), c, before, true))
	}},
}
