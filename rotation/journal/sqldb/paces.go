package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// A pace is a row, and each question one statement: the generic cell rate algorithm, with a rate that moves. free_at is
// when the next call may begin. At the top it may lie in the past by a burst's worth of time, which is what was saved up;
// below the top nothing is saved. A time that lies further ahead than calls are reserved (a minute), or than xAI asks
// anyone to stay away (an hour), was written before the clock was set back, and does not count.
const (
	minute = `60000000`
	hour   = `3600000000`
	// paced is the row before this question; excluded has now.
	paced = `(SELECT excluded.asked_at AS now, paces.rate AS rate,
		CASE WHEN paces.free_at > excluded.asked_at + ` + minute + ` THEN 0 ELSE paces.free_at END AS free,
		CASE WHEN paces.resume_at > excluded.asked_at + ` + hour + ` THEN 0 ELSE paces.resume_at END AS resume,
		CASE WHEN paces.changed_at > excluded.asked_at THEN 0 ELSE paces.changed_at END AS changed) AS paced`

	// $1 name, $2 the caller's clock, $3 top, $4 calls, $5 burst in µs, $6 calm, $7 step, $8 wait.
	takePace = `INSERT INTO paces (name, rate, free_at, changed_at, resume_at, asked_at, begin_at)
		SELECT $1, CAST($3 AS DOUBLE PRECISION), now - CAST($5 AS BIGINT) + CAST($4 * 1e6 / $3 AS BIGINT), now, 0, now, now
		FROM (SELECT @now AS now) AS clock WHERE true
		ON CONFLICT (name) DO UPDATE SET (asked_at, rate, changed_at, begin_at, free_at) = (
			SELECT now, rate, changed, begin, CASE WHEN begin - now > $8 THEN free ELSE begin + CAST($4 * 1e6 / rate AS BIGINT) END
			FROM (SELECT now, rate, changed, free, (SELECT max(at) FROM (SELECT free AS at UNION ALL SELECT resume
					UNION ALL SELECT CASE WHEN rate < $3 THEN now ELSE now - $5 END) AS earliest) AS begin
				FROM (SELECT now, free, resume, CASE WHEN NOT rises THEN changed ELSE now END AS changed,
						CASE WHEN NOT rises THEN rate WHEN rate + $7 < $3 THEN rate + $7 ELSE $3 END AS rate
					FROM (SELECT now, rate, free, resume, changed, rate < $3 AND now - changed >= $6 AND now >= resume AS rises
						FROM ` + paced + `) AS asked) AS risen) AS placed)
		RETURNING begin_at - asked_at, rate`

	// $1 name, $2 the caller's clock, $3 top, $4 floor, $5 wave, $6 retryAfter.
	slowPace = `INSERT INTO paces (name, rate, free_at, changed_at, resume_at, asked_at, begin_at)
		SELECT $1, CASE WHEN CAST($3 AS DOUBLE PRECISION) / 2 > $4 THEN $3 / 2 ELSE CAST($4 AS DOUBLE PRECISION) END, now, now, now + CAST($6 AS BIGINT), now, now
		FROM (SELECT @now AS now) AS clock WHERE true
		ON CONFLICT (name) DO UPDATE SET (rate, changed_at, free_at, resume_at) = (
			SELECT CASE WHEN NOT falls THEN rate WHEN rate / 2 > $4 THEN rate / 2 ELSE $4 END,
				CASE WHEN falls THEN now ELSE changed END,
				CASE WHEN free > now THEN free ELSE now END,
				CASE WHEN resume > excluded.resume_at THEN resume ELSE excluded.resume_at END
			FROM (SELECT now, rate, free, resume, changed, now - changed >= $5 AS falls FROM ` + paced + `) AS asked)`
)

// Take implements journal.Pacer.
func (db *DB) Take(ctx context.Context, now time.Time, name string, calls int, b journal.PaceBounds) (delay time.Duration, rate float64, err error) {
	wait := int64(time.Hour / time.Microsecond)
	if b.Wait > 0 {
		wait = b.Wait.Microseconds()
	}
	var micro int64
	err = db.sayTo(ctx, func(ctx context.Context, t tx) error {
		_, err := one(ctx, t, []any{&micro, &rate}, strings.ReplaceAll(takePace, "@now", db.at(2)), name, micros(now), b.Top, int64(calls),
			int64(float64(b.Burst)/b.Top*1e6), b.Calm.Microseconds(), b.Step, wait)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("take of pace %s: %w", name, err)
	}
	return max(0, time.Duration(micro)*time.Microsecond), rate, nil
}

// Slow implements journal.Pacer.
func (db *DB) Slow(ctx context.Context, now time.Time, name string, retryAfter time.Duration, b journal.PaceBounds) error {
	err := db.sayTo(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, strings.ReplaceAll(slowPace, "@now", db.at(2)), name, micros(now), b.Top, b.Floor,
			b.Wave.Microseconds(), retryAfter.Microseconds())
		return err
	})
	if err != nil {
		return fmt.Errorf("slow down pace %s: %w", name, err)
	}
	return nil
}
