package xaisim

import (
	"slices"
	"strconv"
	"time"
)

// event is an entry of a team's audit log.
type event struct {
	id, description string
	at              time.Time
}

func (t *team) log(s *Sim, at time.Time, description string) {
	t.events = append(t.events, event{s.uuid(), description, at})
	if len(t.events) > maxEvents {
		t.events = slices.Clone(t.events[maxEvents/2:])
	}
}

func (s *Sim) teamModels(q request) answer {
	if _, no := s.teamOf(q); no != nil {
		return *no
	}
	clusters := []any{}
	for _, name := range s.o.Clusters {
		models := []any{}
		for _, m := range s.o.Models {
			models = append(models, map[string]any{"name": m, "aliases": []string{m + "-latest"}, "version": "1.0", "inputModalities": []string{"TEXT"}})
		}
		clusters = append(clusters, map[string]any{"clusterName": name, "languageModels": models, "embeddingModels": []any{}})
	}
	return ok(map[string]any{"clusterConfigs": clusters})
}

func (s *Sim) endpoints(q request) answer {
	if _, no := s.teamOf(q); no != nil {
		return *no
	}
	acls := []any{map[string]any{"acl": "api-key:endpoint:*", "description": "All endpoints"}}
	for _, name := range endpointNames() {
		acls = append(acls, map[string]any{"acl": "api-key:endpoint:" + name, "description": name})
	}
	return ok(map[string]any{"acls": acls})
}

func (s *Sim) validate(q request) answer {
	m := s.management[q.bearer]
	acls := []string{}
	for _, name := range []string{"CreateApiKey", "ListApiKeys", "UpdateApiKey", "DeleteApiKey"} {
		acls = append(acls, "team-token:endpoint:"+name)
	}
	o := map[string]any{"apiKeyId": m.ID, "scope": "SCOPE_TEAM", "name": m.Name, "acls": acls, "ipRanges": []string{}}
	switch {
	case m.Organization:
		o["scope"], o["scopeId"] = "SCOPE_ORGANIZATION", "organization-1"
	case len(m.Teams) > 0:
		o["scopeId"], o["teamId"] = m.Teams[0], m.Teams[0]
	}
	return ok(o)
}

// audit pages newest first; a page token is a place counted from the oldest event, so that new ones do not move it.
func (s *Sim) audit(q request) answer {
	t, no := s.teamOf(q)
	if no != nil {
		return *no
	}
	size, end := 50, len(t.events)
	from, to := time.Time{}, q.at
	for _, p := range []struct {
		name string
		take func(string) error
	}{
		{"pageSize", func(v string) (err error) { size, err = strconv.Atoi(v); return err }},
		{"pageToken", func(v string) (err error) { end, err = strconv.Atoi(v); return err }},
		{"eventTimeFrom", func(v string) (err error) { from, err = time.Parse(time.RFC3339Nano, v); return err }},
		{"eventTimeTo", func(v string) (err error) { to, err = time.Parse(time.RFC3339Nano, v); return err }},
	} {
		if v := q.param(p.name); v != "" && p.take(v) != nil {
			return badField(p.name)
		}
	}
	if size < 1 || end < 0 || end > len(t.events) {
		return badField("pageSize or pageToken")
	}
	events, next := []any{}, ""
	for i := end - 1; i >= 0; i-- {
		e := t.events[i]
		if e.at.Before(from) || e.at.After(to) {
			continue
		}
		if len(events) == size {
			next = strconv.Itoa(i + 1)
			break
		}
		events = append(events, map[string]any{"eventTime": micro(e.at), "eventId": e.id, "description": e.description, "user": "user-1"})
	}
	return ok(map[string]any{"events": events, "nextPageToken": next})
}

// usage answers by key and hour. Keys that were idle through the whole range are not in it.
func (s *Sim) usage(q request) answer {
	t, no := s.teamOf(q)
	if no != nil {
		return *no
	}
	var in struct {
		AnalyticsRequest struct {
			TimeRange struct {
				StartTime, EndTime, Timezone string
			}
			TimeUnit string
			Values   []struct{ Name, Aggregation string }
			GroupBy  []string
			Filters  []string
		}
	}
	if !strictly(q.body, &in) {
		return badField("body")
	}
	r := in.AnalyticsRequest
	const form = "2006-01-02 15:04:05"
	from, err := time.Parse(form, r.TimeRange.StartTime)
	to, err2 := time.Parse(form, r.TimeRange.EndTime)
	if err != nil || err2 != nil || r.TimeRange.Timezone != "Etc/GMT" || r.TimeUnit != "TIME_UNIT_HOUR" ||
		!slices.Equal(r.GroupBy, []string{"api_key_id"}) || len(r.Values) == 0 || len(r.Filters) != 0 {
		return badField("analyticsRequest")
	}
	series := []any{}
	for _, k := range t.keys {
		points, chatted := []any{}, false
		for h := from.Truncate(time.Hour); h.Before(to); h = h.Add(time.Hour) {
			n := k.hours[h.Unix()/3600]
			chatted = chatted || n > 0
			points = append(points, map[string]any{"timestamp": h.UTC().Format(time.RFC3339), "values": []float64{float64(n) * 0.0001}})
		}
		if chatted {
			series = append(series, map[string]any{"group": []string{k.id}, "groupLabels": []string{k.name}, "dataPoints": points})
		}
	}
	return ok(map[string]any{"timeSeries": series, "limitReached": false})
}
