package xai

import (
	"time"

	"rotator/internal/secret"
)

// Key is a key object of the Management API, without its secret.
type Key struct {
	ID, TeamID, UserID, Name string
	Redacted                 string // "xai-...oYZ4": the last four characters are the secret's
	Created, Modified        time.Time
	Expires                  time.Time // zero: never
	Disabled                 bool
	QPS, QPM                 *int     // requests a second and a minute; nil: no limit of its own
	TPM                      *string  // tokens a minute, an integer in a string; nil: no limit of its own
	ACLs                     []string // an empty list refuses every request
}

// Expiry is when the key ends; zero: never. An expiry that is not later than the creation is not believed.
func (k Key) Expiry() time.Time {
	if !k.Expires.After(k.Created) {
		return time.Time{}
	}
	return k.Expires
}

// CreatedKey is a key with its secret, which xAI shows this once.
type CreatedKey struct {
	Key
	Secret secret.Text
}

// CreateRequest says what a new key shall be. Name is required; xAI does not keep names unique.
type CreateRequest struct {
	Name     string
	ACLs     []string
	QPS, QPM *int
	TPM      *string   // an integer in a string
	Expires  time.Time // zero: never
}

// KeyUpdate names what to change; nil fields stay as they are. That xAI lets Disabled and Expires be changed is likely
// but unconfirmed: look at the key that comes back.
type KeyUpdate struct {
	Name     *string
	ACLs     []string // nil: unchanged; an empty list is refused here, since such a key refuses every request
	QPS, QPM *int
	TPM      *string
	Disabled *bool
	Expires  *time.Time // the zero time: never
	// NoQPS, NoQPM and NoTPM take the key's own limit away, so that the team's counts.
	NoQPS, NoQPM, NoTPM bool
}

// RotateRequest sets the expiry of a key whose secret is replaced in place.
type RotateRequest struct {
	Expires          time.Time // of the key; zero: unchanged
	OldSecretExpires time.Time // zero: xAI's default, 24 hours from now; at most 7 days from now
}

// KeyList is all keys of a team.
type KeyList struct {
	Keys []Key
	Date time.Time // of the last page's Date header: the server's clock; zero when there was none
}

// Propagation maps a cluster's host name to whether it knows the key. The set of clusters is not fixed.
type Propagation map[string]bool

// Complete reports whether there is at least one cluster and all of them know the key. An empty map means not yet.
func (p Propagation) Complete() bool {
	for _, knows := range p {
		if !knows {
			return false
		}
	}
	return len(p) > 0
}

// Model is a model that a team's keys may be allowed to use.
type Model struct {
	Name    string
	Aliases []string
	Kind    string // language, image, embedding, audio or video; chat takes language models only
}

// ManagementKey is what a management key says about itself.
type ManagementKey struct {
	ID      string
	Scope   string // SCOPE_TEAM or SCOPE_ORGANIZATION
	ScopeID string
	OwnerID string // the user that it belongs to: where that is no admin, lists show only that user's keys
	TeamID  string // empty for an organization's key
	Name    string
	ACLs    []string  // such as team-token:endpoint:ListApiKeys
	Date    time.Time // of the Date header: the server's clock; zero when there was none
}

// Identity is what an API key says about itself.
type Identity struct {
	KeyID, TeamID, UserID, Name, Redacted string
	Created, Modified                     time.Time
	ACLs                                  []string
	TeamBlocked, KeyBlocked, KeyDisabled  bool
}

// AuditQuery selects events of a team, newest first.
type AuditQuery struct {
	From, To time.Time // zero: no bound
	PageSize int       // 0: the server's default
	Token    string    // AuditPage.Next of the page before
}

// AuditPage is one page of events.
type AuditPage struct {
	Events []AuditEvent
	Next   string // empty on the last page
}

// AuditEvent is one entry of a team's audit log. Description is xAI's text and may name people and keys. User is the id of
// the user who acted.
type AuditEvent struct {
	ID, Description, User string
	Time                  time.Time
}
