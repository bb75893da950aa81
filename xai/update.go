package xai

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// updateRoute is the address that xAI's reference gives; its guide gives another one.
const updateRoute = "PUT /auth/api-keys/{id}"

// UpdateKey changes the fields that u sets and returns the key as xAI has it then. It goes by the path of xAI's reference
// and, where that is not offered, by the one of its guide, which needs teamID. Each is sent once; the second only after an
// answer that shows that the first had no effect. xAI may not allow every field to be changed: look at the key that comes
// back.
func (m *Management) UpdateKey(ctx context.Context, teamID, keyID string, u KeyUpdate) (Key, error) {
	path, err := pathOf(OpUpdate, "/auth/api-keys/{id}", keyID)
	if err != nil {
		return Key{}, err
	}
	mask := u.mask()
	both := u.QPS != nil && u.NoQPS || u.QPM != nil && u.NoQPM || u.TPM != nil && u.NoTPM
	if mask == "" || both || u.ACLs != nil && len(u.ACLs) == 0 || u.Name != nil && *u.Name == "" || !tokensPerMinute(u.TPM) {
		return Key{}, invalid(OpUpdate, "request")
	}
	send := updateBody{FieldMask: mask, APIKey: updateFields{Name: u.Name, ACLs: u.ACLs, QPS: u.QPS, QPM: u.QPM, TPM: u.TPM, Disabled: u.Disabled}}
	if u.Expires != nil {
		send.APIKey.ExpireTime = stamp(*u.Expires)
	}
	k, err := m.updated(ctx, path, updateRoute, keyID, send)
	if !errors.Is(err, ErrNotOffered) || teamID == "" {
		return k, err
	}
	if path, err = pathOf(OpUpdate, "/auth/teams/{id}/api-keys", teamID); err != nil {
		return Key{}, err
	}
	send.APIKey.ID, send.APIKey.TeamID = keyID, teamID
	k, err = m.updated(ctx, path, "", keyID, send)
	if errors.Is(err, ErrNotOffered) {
		m.cl.offers.forget(updateRoute) // neither is there at the moment: both are asked for next time
	}
	return k, err
}

func (m *Management) updated(ctx context.Context, path, optional, keyID string, send updateBody) (Key, error) {
	var k Key
	_, err := m.cl.do(ctx, call{op: OpUpdate, method: http.MethodPut, path: path, optional: optional, body: send, read: func(b body) code {
		return b.decode(func(r *reader) {
			if k = r.key(); k.ID != keyID && r.bad == "" {
				r.bad = "other_key"
			}
		})
	}})
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

// mask names the fields that are to change, in xAI's spelling. One that it names and the body leaves out is cleared.
func (u KeyUpdate) mask() string {
	var names []string
	for _, f := range []struct {
		set  bool
		name string
	}{
		{u.Name != nil, "name"}, {u.ACLs != nil, "aclStrings"}, {u.QPS != nil || u.NoQPS, "qps"}, {u.QPM != nil || u.NoQPM, "qpm"},
		{u.TPM != nil || u.NoTPM, "tpm"}, {u.Disabled != nil, "disabled"}, {u.Expires != nil, "expireTime"},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ",")
}
