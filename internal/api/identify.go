package api

import (
	"context"
	"net/http"
	"regexp"
	"time"
)

// IdentifyRequest names a key by one of its value, its fingerprint and its id.
type IdentifyRequest struct {
	Value       string `json:"value"`       // the key itself; it is neither kept nor logged
	Fingerprint string `json:"fingerprint"` // as status shows it
	KeyID       string `json:"key_id"`
}

// Whether a key still works.
const (
	KeyWorks      = "yes"
	KeyWorksNot   = "no"
	WorksNotKnown = "unknown"
)

// IdentityRow is what is known of a key.
type IdentityRow struct {
	KeyID   *string    `json:"key_id"` // null: no one knows the key
	Name    *string    `json:"name"`
	Team    *string    `json:"team"` // as the configuration names it
	Policy  *string    `json:"policy"`
	State   *string    `json:"state"` // as the journal has it; null: the journal does not know the key
	Created *time.Time `json:"created"`
	Holders []string   `json:"holders"` // targets that were seen to hold it: store:path#field
	Works   string     `json:"works"`   // yes, no or unknown
	Detail  *string    `json:"detail"`
	Do      *string    `json:"do"`
}

var fingerprintForm = regexp.MustCompile(`^(sha256:[0-9a-f]{16}|short:[0-9a-f]{4})$`)

func (c *Server) postIdentify(r *http.Request) (any, error) {
	var q IdentifyRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	given := 0
	for _, text := range []string{q.Value, q.Fingerprint, q.KeyID} {
		if text != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, usage("give one of value, fingerprint and key_id")
	case q.Fingerprint != "" && !fingerprintForm.MatchString(q.Fingerprint):
		return nil, usage("a fingerprint is sha256: and 16 hexadecimal digits, as `rotator status -o json` shows it")
	case q.KeyID != "" && !keyID.MatchString(q.KeyID):
		return nil, usage("not a valid key ID")
	}
	if err := checkNames(q.KeyID); err != nil {
		return nil, err
	}
	return act(c, func(a Actions) ([]IdentityRow, error) {
		rows, err := a.Identify(r.Context(), q)
		for i := range rows {
			rows[i].Created = whole(rows[i].Created)
		}
		return rows, err
	})
}

// Identify says which key it is; see [IdentifyRequest].
func (c *Client) Identify(ctx context.Context, q IdentifyRequest) (rows []IdentityRow, err error) {
	return rows, c.call(ctx, http.MethodPost, "/v1/identify", nil, q, &rows)
}
