package xaisim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The endpoints that ACLs can name.
func endpointNames() []string {
	return []string{"chat", "image", "embed", "models", "sample", "tokenize", "documents"}
}

// teamOf returns the team in the path, if the management key may act for it.
func (s *Sim) teamOf(q request) (*team, *answer) {
	t := s.teams[q.id]
	if t == nil || !s.mayActFor(q, t) {
		a := refuse(http.StatusForbidden, 7, "Forbidden: team mismatch.")
		return nil, &a
	}
	return t, nil
}

// keyOf returns the key in the path, if the management key may act for its team.
func (s *Sim) keyOf(q request) (*key, *answer) {
	k := s.keys[q.id]
	if k == nil || !k.gone.IsZero() {
		a := refuse(http.StatusNotFound, 5, "Cannot find API key.")
		return nil, &a
	}
	if !s.mayActFor(q, k.team) || q.team != "" && q.team != k.team.id {
		a := refuse(http.StatusForbidden, 7, "Forbidden: team mismatch.")
		return nil, &a
	}
	if m := s.management[q.bearer]; s.o.HideFromMembers && m.Member && m.owner() != k.user {
		a := refuse(http.StatusNotFound, 5, "Cannot find API key.")
		return nil, &a
	}
	return k, nil
}

func (s *Sim) mayActFor(q request, t *team) bool {
	m := s.management[q.bearer]
	return m.Organization || slices.Contains(m.Teams, t.id)
}

// owner is the user that made the management key.
func (m *manager) owner() string { return cmp.Or(m.Owner, "user-1") }

func badField(what string) answer { return refuse(http.StatusBadRequest, 3, "Invalid argument: "+what) }

// strictly decodes a JSON object and refuses fields that it does not know.
func strictly(b []byte, v any) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		return false
	}
	_, err := d.Token()
	return err == io.EOF && bytes.HasPrefix(bytes.TrimSpace(b), []byte("{"))
}

func (s *Sim) create(q request) answer {
	t, no := s.teamOf(q)
	if no != nil {
		return *no
	}
	var in struct {
		Name       string
		ACLs       []string `json:"acls"`
		QPS, QPM   *int
		TPM        *string
		ExpireTime *string `json:"expireTime"`
	}
	if !strictly(q.body, &in) {
		return badField("body")
	}
	expires, fine := future(in.ExpireTime, q.at)
	switch {
	case in.Name == "":
		return badField("name")
	case !s.knownACLs(in.ACLs):
		return badField("acls")
	case !positive(in.QPS), !positive(in.QPM), !digits(in.TPM):
		return badField("qps, qpm or tpm")
	case !fine:
		return badField("expireTime")
	case len(s.keys)-len(s.deleted) >= maxKeys:
		return refuse(http.StatusTooManyRequests, 8, "Too many API keys.")
	}
	k := s.newKey(t, q.at, s.management[q.bearer].owner(), in.Name, in.ACLs)
	k.qps, k.qpm, k.tpm = in.QPS, in.QPM, in.TPM
	if !s.o.NoExpiry {
		k.expires = expires
	}
	t.log(s, q.at, k.user, "API key created: "+in.Name)
	s.effect("create", k, q.at)
	o := k.object(q.at)
	o["apiKey"] = k.current.plain
	return ok(o)
}

// keyObject is what an update may hold: the fields to change, or the whole object as a list showed it.
type keyObject struct {
	Name       string
	ACLStrings []string `json:"aclStrings"`
	QPS, QPM   *int
	TPM        *string
	Disabled   bool
	ExpireTime *string `json:"expireTime"`

	APIKeyID, TeamID, UserID, RedactedAPIKey, CreateTime, ModifyTime string // never changed
	IPRanges                                                         any    `json:"ipRanges"`
}

func (s *Sim) update(q request) answer {
	if q.guide && q.id == "" {
		return badField("apiKey.apiKeyId")
	}
	k, no := s.keyOf(q)
	if no != nil {
		return *no
	}
	var in struct {
		APIKey    keyObject `json:"apiKey"`
		FieldMask string    `json:"fieldMask"`
	}
	if !strictly(q.body, &in) || in.FieldMask == "" {
		return badField("body or fieldMask")
	}
	var changes []func() // none is made when one is refused
	other := false
	for name := range strings.SplitSeq(in.FieldMask, ",") {
		change := s.changeOf(k, q.at, name, in.APIKey)
		if change == nil {
			return badField("fieldMask, or the field that it names")
		}
		changes = append(changes, change)
		other = other || name != "disabled"
	}
	was := k.modified
	s.changing(k, q.at)
	if k.modified = q.at; s.o.UpdateLag > 0 && !q.at.After(was) { // no two updates have one time
		k.modified = was.Add(time.Microsecond)
	}
	for _, change := range changes {
		change()
	}
	k.team.log(s, q.at, s.management[q.bearer].owner(), "API key updated: "+k.name)
	if other {
		s.effect("update", k, q.at)
	}
	return ok(k.object(q.at))
}

// changeOf returns what changes the named field; nil when it is refused.
func (s *Sim) changeOf(k *key, now time.Time, name string, f keyObject) func() {
	switch {
	case slices.Contains(s.o.Fixed, name) || name != "disabled" && slices.Contains(s.o.Fixed, ""):
		return nil
	case slices.Contains(s.o.Ignored, name):
		return func() {}
	case name == "name" && f.Name != "":
		return func() { k.name = s.cut(f.Name) }
	case name == "aclStrings" && s.knownACLs(f.ACLStrings):
		return func() { k.acls = f.ACLStrings }
	case name == "qps" && positive(f.QPS):
		return func() { k.qps = f.QPS }
	case name == "qpm" && positive(f.QPM):
		return func() { k.qpm = f.QPM }
	case name == "tpm" && digits(f.TPM):
		return func() { k.tpm = f.TPM }
	case name == "disabled" && !s.o.DisableUnsupported:
		return func() { s.setDisabled(k, now, f.Disabled) }
	case name == "expireTime" && !s.o.ExpireTimeFixed:
		if expires, fine := future(f.ExpireTime, now); fine {
			return func() { k.expires = expires }
		}
	}
	return nil
}

func (s *Sim) delete(q request) answer {
	k, no := s.keyOf(q)
	if no != nil {
		return *no
	}
	s.remove(k, q.at)
	k.team.log(s, q.at, s.management[q.bearer].owner(), "API key deleted: "+k.name)
	return ok(map[string]any{})
}

func (s *Sim) propagation(q request) answer {
	k, no := s.keyOf(q)
	if no != nil {
		return *no
	}
	clusters := map[string]bool{}
	for i, name := range s.o.Clusters {
		clusters[name] = !k.current.known[i].After(q.at)
	}
	return ok(map[string]any{"icPropagation": clusters})
}

func (s *Sim) rotate(q request) answer {
	k, no := s.keyOf(q)
	if no != nil {
		return *no
	}
	var in struct {
		ExpireTime          *string `json:"expireTime"`
		OldSecretExpireTime *string `json:"oldSecretExpireTime"`
	}
	if !strictly(q.body, &in) {
		return badField("body")
	}
	expires, fine := future(in.ExpireTime, q.at)
	dies, fineToo := future(in.OldSecretExpireTime, q.at)
	if !fine || !fineToo || dies.After(q.at.Add(7*24*time.Hour)) {
		return badField("expireTime or oldSecretExpireTime")
	}
	if dies.IsZero() {
		dies = q.at.Add(24 * time.Hour)
	}
	if !expires.IsZero() {
		k.expires = expires
	}
	k.current.dies = dies
	k.credentials = slices.DeleteFunc(k.credentials, func(c *credential) bool {
		over := !c.dies.IsZero() && !c.dies.After(q.at)
		if over {
			delete(s.secrets, c.plain)
		}
		return over
	})
	s.newCredential(k, q.at)
	k.modified = q.at
	s.effect("rotate", k, q.at)
	k.team.log(s, q.at, s.management[q.bearer].owner(), "API key rotated: "+k.name)
	o := k.object(q.at)
	o["apiKey"] = k.current.plain
	return ok(o)
}

// knownACLs reports whether each ACL is one that the team can give.
func (s *Sim) knownACLs(acls []string) bool {
	for _, acl := range acls {
		kind, name, _ := strings.Cut(strings.TrimPrefix(acl, "api-key:"), ":")
		switch {
		case !strings.HasPrefix(acl, "api-key:"):
			return false
		case kind == "model" && (name == "*" || s.hasModel(name)):
		case kind == "endpoint" && (name == "*" || slices.Contains(endpointNames(), name)):
		default:
			return false
		}
	}
	return true
}

func positive(n *int) bool { return n == nil || *n > 0 }

func digits(s *string) bool { return s == nil || *s != "" && strings.Trim(*s, "0123456789") == "" }

// future reads an optional time that must not be past.
func future(s *string, now time.Time) (time.Time, bool) {
	if s == nil {
		return time.Time{}, true
	}
	t, err := time.Parse(time.RFC3339Nano, *s)
	return t, err == nil && t.After(now)
}
