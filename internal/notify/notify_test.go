package notify

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotator/rotation/journal"
)

// inBubble runs a test in which time passes at once.
func inBubble(t *testing.T, f func(t *testing.T, l *ledger, r *receiver, w *watcher)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(t, newLedger(t), &receiver{t: t}, &watcher{}) })
}

func want(t *testing.T, r *receiver, ids ...int64) {
	t.Helper()
	if got := r.got(); !slices.Equal(got, ids) {
		t.Fatalf("delivered %v, want %v", got, ids)
	}
}

func TestUrgentEventsArriveInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		l.add(journal.Promoted, journal.KeyStaged, journal.Drifted) // before the first start
		stop := run(t, l, r, w)
		defer stop()
		time.Sleep(time.Second)
		want(t, r, 10, 30)
		l.add(journal.KeyDeleted, journal.Failed)
		time.Sleep(3 * time.Second)
		want(t, r, 10, 30, 50)
		body := `{"id":10,"at":"2000-01-01T00:00:00Z","kind":"promoted","severity":"info","summary":"chat-prod: every target holds the new key",` +
			`"policy":"chat-prod","team":"research","owner":"ann@example.com","labels":{"tier":"prod"},"health":"ok","health_reason":null,"remedy":null,` +
			`"rotation":"rot-1","data":{"key_id":"key-1"},"source":"host/one"}`
		if r.message() != body {
			t.Errorf("message %s\nwant    %s", r.message(), body)
		}
		for begin, times := range map[string]int{"level=INFO msg=event event=10 ": 1, "level=WARN msg=event": 2, "data.key_id=key-1": 3, "map[": 0} {
			if n := strings.Count(w.said(), begin); n != times {
				t.Errorf("%q occurs %d times in the log, want %d:\n%s", begin, n, times, w.said())
			}
		}
	})
}

// TestRecoveryIsNoWarning: a policy that became overdue is a warning in the log, one that is well again is not.
func TestRecoveryIsNoWarning(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		for i, to := range []string{"overdue", "ok", "action_required", "progressing"} {
			l.events = append(l.events, journal.Event{ID: int64(i + 1), At: time.Now(), Kind: journal.HealthChanged, Data: map[string]string{"to": to}})
		}
		stop := run(t, l, r, w)
		defer stop()
		time.Sleep(time.Second)
		want(t, r, 1, 2, 3, 4)
		for begin, times := range map[string]int{"level=INFO msg=event": 2, "level=WARN msg=event": 2} {
			if n := strings.Count(w.said(), begin); n != times {
				t.Errorf("%q occurs %d times in the log, want %d:\n%s", begin, n, times, w.said())
			}
		}
	})
}

func TestWhatIsAbsentIsNull(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		l.events = []journal.Event{{ID: 1, At: time.Now(), Kind: journal.OrphansSeen}}
		stop := run(t, l, r, w)
		defer stop()
		time.Sleep(time.Second)
		want(t, r, 1)
		body := `{"id":1,"at":"2000-01-01T00:00:00Z","kind":"orphans","severity":"warning","summary":"xAI lists keys with the rotator's prefix that its journal does not know",` +
			`"policy":null,"team":null,"owner":null,"labels":{},"health":null,"health_reason":null,"remedy":null,"rotation":null,"data":{},"source":"host/one"}`
		if r.message() != body {
			t.Errorf("message %s\nwant    %s", r.message(), body)
		}
	})
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		l.add(journal.Promoted, journal.Drifted)
		stop := run(t, l, r, w)
		time.Sleep(time.Second)
		stop()
		l.add(journal.Failed)
		defer run(t, l, r, w)()
		time.Sleep(33 * time.Second) // the turn of the one that stopped runs out first
		want(t, r, 10, 20, 30)
	})
}

func TestNewReceiverIsToldNoOldNews(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		for range 1200 { // more than are read at once
			l.add(journal.Failed)
		}
		time.Sleep(25 * time.Hour)
		l.add(journal.Promoted, journal.Drifted)
		r.answers(func(int64) (int, error) { return 503, nil })
		stop := run(t, l, r, w)
		time.Sleep(48 * time.Hour) // what was news when it began is news until it is delivered
		stop()
		r.answers(nil)
		defer run(t, l, r, w)()
		time.Sleep(10 * time.Minute)
		want(t, r, 12010, 12020)
	})
}

func TestADeadReceiverIsRetriedForever(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		r.answers(func(int64) (int, error) { return 503, nil })
		l.add(journal.Promoted, journal.Drifted)
		defer run(t, l, r, w)()
		time.Sleep(5 * time.Second)
		if n := r.tries(); n < 2 || n > 4 {
			t.Errorf("%d tries in 5 s", n)
		}
		time.Sleep(72 * time.Hour)
		if n, perDay := r.tries(), 72*60/5; n < perDay*3/4 || n > perDay*3/2 {
			t.Errorf("%d tries in three days, want about one every five minutes", n)
		}
		want(t, r)
		if n := w.failed("webhook"); n != r.tries() {
			t.Errorf("%d failures are told of %d", n, r.tries())
		}
		if w.failed("log") != 0 || strings.Count(w.said(), "msg=event") != 3 || strings.Count(w.said(), "kind=channel_failed") != 1 {
			t.Error("a dead webhook held up the log")
		}
		if !strings.Contains(w.said(), "notifications are not delivered") || !strings.Contains(w.said(), "status 503") {
			t.Errorf("the log says nothing of it:\n%s", w.said())
		}
		r.answers(nil)
		time.Sleep(10 * time.Minute)
		want(t, r, 10, 20)
		if w.failed("webhook") != 0 || !strings.Contains(w.said(), "delivered again") {
			t.Error("nobody is told that it works again")
		}
		r.answers(func(int64) (int, error) { return 503, nil })
		before := r.tries()
		l.add(journal.Failed)
		time.Sleep(time.Minute)
		if n := r.tries() - before; n < 4 {
			t.Errorf("%d tries in the first minute of a new failure: the pause is still the old one", n)
		}
	})
}

func TestOneMessageThatIsRefusedKeepsTheOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		refusals := 3
		r.answers(func(id int64) (int, error) {
			if id == 20 && refusals > 0 {
				refusals--
				return 400, nil
			}
			return 200, nil
		})
		l.add(journal.Promoted, journal.Drifted, journal.Failed)
		defer run(t, l, r, w)()
		time.Sleep(2 * time.Minute)
		want(t, r, 10, 20, 30)
	})
}

func TestWhateverAReceiverDoesNothingIsLost(t *testing.T) {
	for name, answer := range map[string]func(int64) (int, error){
		"hangs":                 func(int64) (int, error) { return 0, errHangs },
		"breaks off":            func(int64) (int, error) { return 0, errors.New("dial " + hookURL + ": connection reset") },
		"redirects":             func(int64) (int, error) { return 302, nil },
		"redirects with method": func(int64) (int, error) { return 307, nil },
		"is gone":               func(int64) (int, error) { return 410, nil },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
				r.answers(answer)
				l.add(journal.Promoted)
				defer run(t, l, r, w)()
				time.Sleep(time.Hour)
				want(t, r)
				if told := w.failed("webhook"); told < 10 || told > r.tries() || told < r.tries()-5 { // the end of a turn cuts off a few
					t.Errorf("%d tries, %d failures told", r.tries(), w.failed("webhook"))
				}
				r.answers(nil)
				time.Sleep(10 * time.Minute)
				want(t, r, 10)
				for _, canary := range []string{hookURL, "hooks.example", "canary"} {
					if strings.Contains(w.said(), canary) {
						t.Errorf("the log holds %q:\n%s", canary, w.said())
					}
				}
			})
		})
	}
}

func TestAnAnswerThatIsLostIsDeliveredAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		r.answers(func(id int64) (int, error) {
			l.fail(true) // the receiver took it, and the cursor cannot be moved
			return 200, nil
		})
		l.add(journal.Promoted, journal.Drifted)
		defer run(t, l, r, w)()
		time.Sleep(time.Second)
		want(t, r, 10)
		r.answers(nil)
		time.Sleep(time.Minute)
		want(t, r, 10)
		if w.failed("webhook") == 0 || w.failed("log") == 0 {
			t.Error("a journal that does not answer is not told")
		}
		l.fail(false)
		time.Sleep(10 * time.Minute)
		want(t, r, 10, 10, 20)
	})
}

func TestReplicasTakeTurns(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		one := run(t, l, r, w)
		two := run(t, l, r, &watcher{})
		defer two()
		var ids []int64
		for i := range 300 {
			l.add(journal.Promoted)
			ids = append(ids, int64(i+1)*10)
			time.Sleep(1100 * time.Millisecond)
			if i == 150 {
				one() // the other goes on alone
			}
		}
		time.Sleep(time.Minute)
		want(t, r, ids...)
	})
}

func TestAThousandOldEventsThatAreNoNewsCostFewWrites(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		for range 2000 {
			l.add(journal.KeyStaged)
		}
		l.add(journal.Promoted)
		defer run(t, l, r, w)()
		time.Sleep(time.Second)
		want(t, r, 20010)
		before := l.writes()
		if before > 12 { // of two ways out
			t.Errorf("%d writes", before)
		}
		time.Sleep(time.Hour)
		if n := l.writes() - before; n != 0 {
			t.Errorf("%d writes while nothing happened", n)
		}
	})
}

func TestACursorThatCannotBeReadIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		l.meta["notify/webhook"] = "ten"
		l.add(journal.Promoted)
		defer run(t, l, r, w)()
		time.Sleep(10 * time.Minute)
		want(t, r)
		if w.failed("webhook") < 3 || !strings.Contains(w.said(), "meta notify/webhook is no event's id") {
			t.Errorf("%d failures told:\n%s", w.failed("webhook"), w.said())
		}
	})
}

func TestStoppingDoesNotWaitForAReceiver(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger, r *receiver, w *watcher) {
		r.answers(func(int64) (int, error) { return 0, errHangs })
		l.add(journal.Promoted)
		stop := run(t, l, r, w)
		time.Sleep(time.Second)
		began := time.Now()
		stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it stopped after %s", took)
		}
		if w.failed("webhook") != 0 {
			t.Error("what a stop cut off counts as a failure")
		}
	})
}
