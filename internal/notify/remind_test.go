package notify

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotator/rotation/journal"
)

// TestRemindersThatFail: a receiver that takes no reminder is left alone more and more, and people are told, although no event waits.
func TestRemindersThatFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, w := newLedger(t), &watcher{}
		tries := 0
		dead := sendFunc(func(context.Context, []Message) error { tries++; return errors.New("status 503") })
		defer runOver(t, l, w, Channel{Name: "chat", Sender: dead, Repeat: time.Hour})()
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if tries < 3*12-6 || tries > 3*12+20 {
			t.Errorf("%d tries in three hours, want about one every five minutes", tries)
		}
		if w.failed("chat") < tries-1 || strings.Count(w.said(), "kind=channel_failed") != 1 {
			t.Errorf("%d failures told of %d:\n%s", w.failed("chat"), tries, w.said())
		}
	})
}

// TestManyReminders: of very many policies some are named, critical ones first, and the others counted; a slow receiver, whose
// answers take longer than a turn, gets none of them twice.
func TestManyReminders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, w := newLedger(t), &watcher{unwell: 100_000}
		got := map[string]int{}
		var last Message
		slow := sendFunc(func(ctx context.Context, all []Message) error {
			sleep(ctx, time.Second)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			last = all[0]
			got[or(last.Policy)]++
			return nil
		})
		defer runOver(t, l, w, Channel{Name: "pager", Sender: slow, Repeat: time.Hour})()
		time.Sleep(70 * time.Minute)
		synctest.Wait()
		for policy, times := range got {
			if times != 1 {
				t.Errorf("%q was told of %d times", policy, times)
			}
		}
		if len(got) != remindMost+1 || got["p000000"] != 1 || got["embed"] != 0 || last.Policy != nil || last.Data["policies"] != "99901" {
			t.Errorf("%d reminders, the last %+v", len(got), last)
		}
		if w.failed("pager") != 0 {
			t.Errorf("%d failures", w.failed("pager"))
		}
	})
}

// TestAChannelThatNeverEndsInItsTurn is told of, as one that answers with an error.
func TestAChannelThatNeverEndsInItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, w := newLedger(t), &watcher{}
		hangs := sendFunc(func(ctx context.Context, _ []Message) error { <-ctx.Done(); return ctx.Err() })
		l.add(journal.Promoted)
		defer runOver(t, l, w, Channel{Name: "mail", Sender: hangs})()
		time.Sleep(time.Hour)
		if w.failed("mail") < 5 || strings.Count(w.said(), "kind=channel_failed") != 1 {
			t.Errorf("%d failures told:\n%s", w.failed("mail"), w.said())
		}
	})
}

// TestFactsOfEventsThatAreSent: no query is made for an event that the channel does not get by its kind or severity.
func TestFactsOfEventsThatAreSent(t *testing.T) {
	t.Parallel()
	asked := 0
	o := newOut(Options{Now: time.Now, Facts: func(context.Context, string) (Facts, error) { asked++; return Facts{Team: "search"}, nil }},
		Channel{Name: "chat", Match: Match{Severities: []Severity{Critical}, Teams: []string{"search"}}})
	for _, kind := range []journal.Kind{journal.Promoted, journal.KeyStaged, journal.KeyCompromised} {
		_, mine, err := o.message(t.Context(), journal.Event{Policy: "chat", Kind: kind})
		if err != nil || mine != (kind == journal.KeyCompromised) {
			t.Errorf("%s: %t %v", kind, mine, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// sendFunc is a channel of one message at a time.
type sendFunc func(context.Context, []Message) error

func (sendFunc) Check(context.Context) error                     { return nil }
func (sendFunc) Most() int                                       { return 1 }
func (f sendFunc) Send(ctx context.Context, all []Message) error { return f(ctx, all) }
