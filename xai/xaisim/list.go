package xaisim

import (
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"time"
)

// object is a key object as single answers spell it.
func (k *key) object(now time.Time) map[string]any {
	acls := k.acls
	if acls == nil {
		acls = []string{}
	}
	o := map[string]any{
		"apiKeyId": k.id, "teamId": k.team.id, "userId": k.user, "name": k.name, "redactedApiKey": redacted(k.current.plain),
		"createTime": micro(k.created), "modifyTime": micro(k.modified), "disabled": k.shown.at(now),
		"aclStrings": acls, "ipRanges": nil,
	}
	if k.qps != nil {
		o["qps"] = *k.qps
	}
	if k.qpm != nil {
		o["qpm"] = *k.qpm
	}
	if k.tpm != nil {
		o["tpm"] = *k.tpm
	}
	if !k.expires.IsZero() {
		o["expireTime"] = micro(k.expires)
	}
	return o
}

func (k *key) expired(now time.Time) bool { return !k.expires.IsZero() && !k.expires.After(now) }

func redacted(plain string) string { return "xai-..." + plain[len(plain)-4:] }

func micro(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// view is a key object as lists show it until they learn of a change.
type view struct {
	until time.Time
	o     map[string]any
}

// changing has lists show k as it is for a while yet.
func (s *Sim) changing(k *key, now time.Time) {
	if s.o.UpdateLag > 0 {
		k.views = slices.DeleteFunc(k.views, func(v view) bool { return !v.until.After(now) })
		k.views = append(k.views, view{now.Add(s.o.UpdateLag), k.object(now)})
	}
}

// listed is a key object as lists spell it: half of them the other way.
func (k *key) listed(now time.Time) map[string]any {
	o := k.object(now)
	for _, v := range k.views {
		if v.until.After(now) {
			o = maps.Clone(v.o)
			break
		}
	}
	o["acl_strings"] = o["aclStrings"]
	delete(o, "aclStrings")
	if k.order%2 == 0 {
		o["disabled"] = strconv.FormatBool(k.shown.at(now))
	}
	return o
}

// list shows a member only the keys that are its own. It goes by each key's random order, so that no caller can rely on
// one, and pages hold while keys come and go.
func (s *Sim) list(q request) answer {
	t, no := s.teamOf(q)
	if no != nil {
		return *no
	}
	size := len(t.keys)
	if p := q.param("pageSize"); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 {
			return badField("pageSize")
		}
		size = n
	}
	from := 0
	if p := q.param("paginationToken"); p != "" {
		b, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil || len(b) != 8 {
			return badField("paginationToken")
		}
		from, _ = slices.BinarySearchFunc(t.keys, binary.BigEndian.Uint64(b), byOrder)
	}
	m := s.management[q.bearer]
	keys, next := []any{}, ""
	for _, k := range t.keys[from:] {
		if !s.listed(k, q.at) || q.param("activeOnly") == "true" && k.expired(q.at) || m.Member && k.user != m.owner() {
			continue
		}
		if len(keys) == size {
			next = base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, k.order))
			break
		}
		o := k.listed(q.at)
		switch at, err := time.Parse(time.RFC3339Nano, o["modifyTime"].(string)); {
		case err != nil || s.o.ListedModified == 0:
		case s.o.ListedModified < 0:
			delete(o, "modifyTime")
		default:
			o["modifyTime"] = at.Truncate(s.o.ListedModified).Format(time.RFC3339)
		}
		keys = append(keys, o)
	}
	o := map[string]any{"apiKeys": keys}
	switch end := s.rng.IntN(3); {
	case next != "" || end == 0:
		o["paginationToken"] = next
	case end == 1:
		o["paginationToken"] = nil
	}
	return ok(o)
}
