package xaisim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// usageRequest is what billing is asked.
type usageRequest struct {
	TimeRange struct {
		StartTime, EndTime, Timezone string
	}
	TimeUnit string
	Values   []struct{ Name, Aggregation string }
	GroupBy  []string
	Filters  []string
}

// usage answers by key and hour, for the keys that the filters name, or all. Keys that were idle through the whole range
// are not in it, unless the options say so.
func (s *Sim) usage(q request) answer {
	t, no := s.teamOf(q)
	if no != nil {
		return *no
	}
	if s.o.UsageUnavailable {
		return refuse(http.StatusForbidden, 7, "The management key is not allowed to call this endpoint.")
	}
	var in struct{ AnalyticsRequest usageRequest }
	if !strictly(q.body, &in) {
		return badField("body")
	}
	r := in.AnalyticsRequest
	const form = "2006-01-02 15:04:05"
	from, err := time.Parse(form, r.TimeRange.StartTime)
	to, err2 := time.Parse(form, r.TimeRange.EndTime)
	ids, fine := keyFilters(r.Filters)
	if err != nil || err2 != nil || r.TimeRange.Timezone != "Etc/GMT" || r.TimeUnit != "TIME_UNIT_HOUR" ||
		!slices.Equal(r.GroupBy, []string{"api_key_id"}) || len(r.Values) == 0 || !fine || s.o.UsageUnfiltered && len(ids) > 0 {
		return badField("analyticsRequest")
	}
	series, whole := []any{}, &key{name: "team", hours: map[int64]int{}}
	limited := false
	for _, k := range t.keys {
		if len(ids) > 0 && !slices.Contains(ids, k.id) {
			continue
		}
		for hour, n := range k.hours {
			whole.hours[hour] += n
		}
		points, chatted := k.points(from, to)
		switch {
		case !chatted && !s.o.UsageShowsIdle:
		case s.o.UsageLimit > 0 && len(series) == s.o.UsageLimit:
			limited = true
		default:
			series = append(series, map[string]any{"group": []string{k.id}, "groupLabels": []string{k.name}, "dataPoints": points})
		}
	}
	if s.o.UsageUngrouped {
		points, _ := whole.points(from, to)
		series = []any{map[string]any{"group": []string{}, "groupLabels": []string{}, "dataPoints": points}}
	}
	return ok(map[string]any{"timeSeries": series, "limitReached": limited})
}

// points are a key's use by the hour, without gaps.
func (k *key) points(from, to time.Time) (points []any, chatted bool) {
	points = []any{}
	for h := from.Truncate(time.Hour); h.Before(to); h = h.Add(time.Hour) {
		n := k.hours[h.Unix()/3600]
		chatted = chatted || n > 0
		points = append(points, map[string]any{"timestamp": h.UTC().Format(time.RFC3339), "values": []float64{float64(n) * 0.0001}})
	}
	return points, chatted
}

// keyFilters reads filters, each api_key_id:<id>.
func keyFilters(filters []string) (ids []string, fine bool) {
	for _, f := range filters {
		id, ok := strings.CutPrefix(f, "api_key_id:")
		if !ok || id == "" {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}
