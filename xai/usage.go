package xai

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// UsageQuery selects the usage of a team's keys, by the hour.
type UsageQuery struct {
	From, To time.Time
	// KeyID is the key to ask about; "": all. Of many keys xAI may return only a part, and then nothing is known of any.
	KeyID string
}

// Usage is what a team's keys used, by the hour, as far as billing has heard.
type Usage struct {
	From, To time.Time
	Limited  bool                    // only a part was returned: nothing is known
	keys     map[string][]usagePoint // key id → points
}

// usagePoint is the use within the hour that begins at time; zero amounts are kept, they prove that the key is reported.
type usagePoint struct {
	time time.Time
	used bool
}

// UsedSince reports whether the key was used at or after t. known is false, and nothing may be concluded, when t lies
// before the query's start, when the answer never names the key, or when it is only a part: whether usage is grouped by
// key id at all is unconfirmed, so silence about a key is not idleness. Ask from a time when the key was in use, to hear
// of it.
func (u Usage) UsedSince(keyID string, t time.Time) (used, known bool) {
	points := u.keys[keyID]
	if u.Limited || len(points) == 0 || t.Before(u.From) {
		return false, false
	}
	for _, p := range points {
		if p.used && p.time.Add(time.Hour).After(t) {
			return true, true
		}
	}
	return false, true
}

// SurelyUsedFrom reports whether the answer clearly says that the key was used in an hour that began at t or later. Where it says
// nothing, or not clearly, it is false.
func (u Usage) SurelyUsedFrom(keyID string, t time.Time) bool {
	return !u.Limited && slices.ContainsFunc(u.keys[keyID], func(p usagePoint) bool {
		return p.used && !p.time.Equal(unread) && !p.time.Before(t)
	})
}

// LastUse returns the beginning of the last hour in which any key was used: up to then billing is known to have heard. seen is
// false when the answer reports no use, or is only a part.
func (u Usage) LastUse() (at time.Time, seen bool) {
	for _, points := range u.keys {
		for _, p := range points {
			if p.used && !p.time.Equal(unread) && p.time.After(at) {
				at = p.time
			}
		}
	}
	return at, !at.IsZero() && !u.Limited
}

// Newest returns the beginning of the last hour that the answer has a point for, of this key. seen is false when the answer
// never names the key. A point may be a zero, and the last one may still grow: billing lags. The time is zero when a point
// could not be read.
func (u Usage) Newest(keyID string) (at time.Time, seen bool) {
	for _, p := range u.keys[keyID] {
		if p.time.Equal(unread) {
			return time.Time{}, true
		}
		if p.time.After(at) {
			at = p.time
		}
	}
	return at, len(u.keys[keyID]) > 0
}

// Usage returns what the team's keys used, by the hour. Any error means "not known", never "idle".
func (m *Management) Usage(ctx context.Context, teamID string, q UsageQuery) (Usage, error) {
	path, err := pathOf(OpUsage, "/v1/billing/teams/{id}/usage", teamID)
	if err != nil {
		return Usage{}, err
	}
	if q.From.IsZero() || !q.To.After(q.From) {
		return Usage{}, invalid(OpUsage, "request")
	}
	u := Usage{From: q.From, To: q.To}
	_, err = m.cl.do(ctx, call{op: OpUsage, method: http.MethodPost, path: path, body: usageRequest(q), limit: listLimit,
		optional: "POST /v1/billing/teams/{id}/usage",
		read: func(b body) code {
			return b.decode(func(r *reader) {
				u.Limited = r.flag("limitReached")
				u.keys = r.usage()
			})
		}})
	if err != nil {
		return Usage{}, err
	}
	return u, nil
}

// usageTime is how billing writes times: with a space, in the zone that the request names.
const usageTime = "2006-01-02 15:04:05"

func usageRequest(q UsageQuery) usageBody {
	var b usageBody
	r := &b.AnalyticsRequest
	r.TimeRange.StartTime, r.TimeRange.EndTime = q.From.UTC().Format(usageTime), q.To.UTC().Format(usageTime)
	r.TimeRange.Timezone = "Etc/GMT"
	r.TimeUnit = "TIME_UNIT_HOUR"
	r.Values = []usageValue{{Name: "usd", Aggregation: "AGGREGATION_SUM"}}
	r.GroupBy = []string{"api_key_id"}
	r.Filters = []string{}
	if q.KeyID != "" {
		r.Filters = append(r.Filters, "api_key_id:"+q.KeyID)
	}
	return b
}

func (r *reader) usage() map[string][]usagePoint {
	keys := map[string][]usagePoint{}
	r.each("timeSeries", func(s *reader) {
		group := s.texts("group")
		if len(group) != 1 {
			return // not grouped by key: says nothing of one
		}
		s.each("dataPoints", func(p *reader) { keys[group[0]] = append(keys[group[0]], p.usagePoint()) })
		if s.bad != "" {
			delete(keys, group[0]) // of a part nothing is concluded
		}
		r.overflow(s)
	})
	return keys
}

// unread is the time of a point that could not be read: after any other.
var unread = time.Unix(1<<40, 0)

// usagePoint reads one point. What cannot be read counts as use: a key is called idle on clear words only.
func (r *reader) usagePoint() usagePoint {
	text := r.text("timestamp")
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.Parse(usageTime, text)
	}
	values := r.numbers("values")
	if err != nil || r.bad != "" || len(values) == 0 {
		return usagePoint{time: unread, used: true}
	}
	return usagePoint{time: at, used: slices.ContainsFunc(values, func(v float64) bool { return v != 0 })}
}
