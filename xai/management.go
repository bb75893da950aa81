package xai

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rotator/internal/secret"
)

// Bounds of a list: pages are of pageSize keys, and there are at most pagesMax of them.
const (
	pageSize   = "100"
	pagesMax   = 10_000
	pagesLimit = 128 << 20 // bytes of all pages
	tries      = 3         // of GET
)

// Management calls the Management API with one management key. The pace is the key's, so make one for each and share it.
// It is safe for concurrent use.
type Management struct{ cl client }

// ManagementOptions are the settings of a Management. URL and Key are required.
type ManagementOptions struct {
	URL string // https://management-api.x.ai, or http on loopback
	// Key returns the management key. It is asked before each try, so that a reference can be read again. Its error is
	// kept in ours: it must not hold a secret.
	Key       func(context.Context) (secret.Text, error)
	HTTP      *http.Client                               // only its transport is used; nil: one of our own
	TLS       TLSFiles                                   // of a transport of our own
	Now       func() time.Time                           // nil: time.Now
	Sleep     func(context.Context, time.Duration) error // nil: a timer; returns ctx's error when that ends first
	Timeout   time.Duration                              // of each try, its answer included; 0: 30 s
	UserAgent string                                     // "": rotator
	// Pace is what several processes keep together for this key; nil: this one keeps its own.
	Pace SharedPace
	// Observe hears of each try's end, with the call's own context; class is "" for a success.
	Observe func(ctx context.Context, op string, class Class, took time.Duration)
}

// NewManagement checks the options. Nothing is sent.
func NewManagement(o ManagementOptions) (*Management, error) {
	if o.Key == nil {
		return nil, errors.New("no management key")
	}
	cl, err := newClient("management", o)
	if err != nil {
		return nil, err
	}
	cl.pace = newPace(o.Pace)
	return &Management{cl: cl}, nil
}

// CreateKey makes a new key in the team. It is sent once and never again: after an end for which [OutcomeUnknown] is
// true, xAI may hold a key of that name or get one a little later. When the answer names the key but lacks its secret, the
// key is returned beside the ClassUnreadable error.
func (m *Management) CreateKey(ctx context.Context, teamID string, r CreateRequest) (CreatedKey, error) {
	path, err := pathOf(OpCreate, "/auth/teams/{id}/api-keys", teamID)
	if err != nil {
		return CreatedKey{}, err
	}
	if r.Name == "" || len(r.ACLs) == 0 || !tokensPerMinute(r.TPM) {
		return CreatedKey{}, invalid(OpCreate, "request")
	}
	return m.created(ctx, OpCreate, path, createBody{Name: r.Name, ACLs: r.ACLs, QPS: r.QPS, QPM: r.QPM, TPM: r.TPM, ExpireTime: stamp(r.Expires)})
}

// RotateKey replaces the secret of a key in place. It is sent once and never again: a lost answer loses the new secret
// while the old one is already timed to die. When the answer lacks the secret, the key is returned beside the error.
func (m *Management) RotateKey(ctx context.Context, keyID string, r RotateRequest) (CreatedKey, error) {
	path, err := pathOf(OpRotate, "/auth/api-keys/{id}/rotate", keyID)
	if err != nil {
		return CreatedKey{}, err
	}
	k, err := m.created(ctx, OpRotate, path, rotateBody{ExpireTime: stamp(r.Expires), OldSecretExpireTime: stamp(r.OldSecretExpires)})
	if err == nil && k.ID != keyID {
		return CreatedKey{}, &Error{Op: OpRotate, Class: ClassUnreadable, Status: http.StatusOK, Code: "other_key"}
	}
	return k, err
}

// optionalPost: operation → its route, of those POSTs that xAI may not offer.
var optionalPost = map[string]string{OpRotate: "POST /auth/api-keys/{id}/rotate"}

// created is the one way to a secret: a POST, without a second try.
func (m *Management) created(ctx context.Context, op, path string, send any) (CreatedKey, error) {
	var k CreatedKey
	_, err := m.cl.do(ctx, call{op: op, method: http.MethodPost, path: path, body: send, optional: optionalPost[op], read: func(b body) code {
		return b.decode(func(r *reader) {
			k = CreatedKey{Key: r.key(), Secret: r.secret("apiKey")}
			if k.Secret.Empty() && r.bad == "" {
				r.bad = "no_secret"
			}
		})
	}})
	return k, err
}

// ListKeys returns all keys of the team, over all pages, in no order, each once. It is whole or an error: no one may
// conclude from a half list that a key is gone. Keys made or deleted meanwhile may or may not be in it.
func (m *Management) ListKeys(ctx context.Context, teamID string) (KeyList, error) {
	path, err := pathOf(OpList, "/auth/teams/{id}/api-keys", teamID)
	if err != nil {
		return KeyList{}, err
	}
	var list KeyList
	left, size := partsMax, 0 // of all pages
	at := map[string]int{}    // key id → its index in list.Keys: a key may move to a later page while we read
	seen := map[string]bool{"": true}
	for token, page := "", 0; page == 0 || token != ""; page++ {
		query := url.Values{"pageSize": {pageSize}}
		if token != "" {
			query.Set("paginationToken", token)
		}
		keys, next, date, err := m.listPage(ctx, path, query, &left, &size)
		if err != nil {
			return KeyList{}, err
		}
		for _, k := range keys {
			if i, ok := at[k.ID]; ok {
				list.Keys[i] = k
				continue
			}
			at[k.ID] = len(list.Keys)
			list.Keys = append(list.Keys, k)
		}
		if next != "" && (seen[next] || page >= pagesMax) {
			return KeyList{}, &Error{Op: OpList, Class: ClassUnreadable, Status: http.StatusOK, Code: "endless", Date: date}
		}
		seen[next], token, list.Date = true, next, date
	}
	return list, nil
}

func (m *Management) listPage(ctx context.Context, path string, query url.Values, left, size *int) (keys []Key, next string, date time.Time, err error) {
	date, err = m.cl.do(ctx, call{op: OpList, method: http.MethodGet, path: path, query: query, limit: listLimit, tries: tries,
		read: func(b body) code {
			if *size += len(b); *size > pagesLimit {
				return "too_large"
			}
			return b.decodePage(left, func(r *reader) {
				if _, ok := r.o["apikeys"]; !ok {
					r.bad = "no_list" // {} must not read as "this team has no keys"
				}
				keys = nil
				r.each("apiKeys", func(one *reader) {
					keys = append(keys, one.key())
					r.bad = one.bad
				})
				next = r.text("paginationToken")
			})
		}})
	return keys, next, date, err
}

// DeleteKey deletes a key for good. It is sent once. A key that is not there is ClassNotFound: the caller decides whether
// that is success.
func (m *Management) DeleteKey(ctx context.Context, keyID string) error {
	path, err := pathOf(OpDelete, "/auth/api-keys/{id}", keyID)
	if err != nil {
		return err
	}
	_, err = m.cl.do(ctx, call{op: OpDelete, method: http.MethodDelete, path: path, read: func(b body) code {
		return b.decode(func(r *reader) {
			// The answer is empty, or the key that was. Anything else is an error in a success's clothes: another try
			// finds out, since a key that is gone is "cannot find".
			if len(r.o) > 0 && r.text("apiKeyId") != keyID {
				r.bad = "refusal"
			}
		})
	}})
	return err
}

// Propagation says which clusters know the key.
func (m *Management) Propagation(ctx context.Context, keyID string) (Propagation, error) {
	path, err := pathOf(OpPropagation, "/auth/api-keys/{id}/propagation", keyID)
	if err != nil {
		return nil, err
	}
	var p Propagation
	_, err = m.cl.do(ctx, call{op: OpPropagation, method: http.MethodGet, path: path, tries: tries, read: func(b body) code {
		return b.decode(func(r *reader) { p = r.flags("icPropagation") })
	}})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// tokensPerMinute reports whether tpm is absent or an integer in a string, which is all that xAI takes.
func tokensPerMinute(tpm *string) bool {
	return tpm == nil || *tpm != "" && strings.Trim(*tpm, "0123456789") == ""
}

func invalid(op string, why code) *Error {
	return &Error{Op: op, Class: ClassInvalid, Code: string(why), Unsent: true}
}

// stamp writes a time as xAI takes it; nil for none.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(time.RFC3339Nano)
	return &s
}
