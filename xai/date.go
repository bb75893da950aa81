package xai

import (
	"context"
	"time"
)

type dateKey struct{}

// WithDate returns a context whose calls pass to note the Date of every authenticated answer: each success, and "cannot find
// API key". That is xAI's clock, to the second. An answer without a Date is not reported. note may be called by several
// goroutines at once, if calls are. A recorder that ctx already has is called too.
func WithDate(ctx context.Context, note func(time.Time)) context.Context {
	outer, _ := ctx.Value(dateKey{}).(func(time.Time))
	return context.WithValue(ctx, dateKey{}, func(t time.Time) {
		if outer != nil {
			outer(t)
		}
		note(t)
	})
}

// noteDate notifies ctx's recorder of an answer that ended with err.
func noteDate(ctx context.Context, date time.Time, err *Error) {
	note, ok := ctx.Value(dateKey{}).(func(time.Time))
	if ok && !date.IsZero() && (err == nil || err.Class == ClassNotFound) {
		note(date)
	}
}
