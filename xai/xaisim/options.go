package xaisim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Options shape a simulator. The zero value is a patient, healthy xAI with three clusters and two language models.
// Where it is not known which of two ways xAI takes, there is a switch for the other one.
type Options struct {
	Now     func() time.Time // nil: time.Now
	Seed    uint64           // of everything that is random
	Latency time.Duration    // a real wait before each answer; 0: none

	Clusters      []string                         // host names; nil: three of them
	Propagation   func(r *rand.Rand) time.Duration // how late a cluster learns of a new secret; nil: 0.5 to 1.5 s
	ListLag       time.Duration                    // how late lists learn of a create or a delete
	UpdateLag     time.Duration                    // how late lists learn of a change of a key
	DeleteLag     time.Duration                    // how much longer a deleted key is accepted
	DisableLag    time.Duration                    // how much longer a disabled key is accepted
	DisableSpread time.Duration                    // each cluster learns of a disable so much later than the one before it
	EnableLag     time.Duration                    // how much longer an enabled key is refused
	EnableSpread  time.Duration                    // each cluster learns of an enable so much later than the one before it
	RateLimit     RateLimit                        // of each management key
	Teams         []string                         // team ids, beside those that management keys name
	Models        []string                         // language models; nil: grok-4 and grok-3-mini
	OtherModels   map[string][]string              // kind, such as embeddingModels → names; nil: one of each kind
	Management    map[string]ManagementKey         // token → what it may do; see also NewManagementKey

	// LateDisableWins makes a disable land after DisableLag and DisableSpread even when the key was enabled meanwhile. With
	// DisableSpread alone, single clusters then refuse a key that the Management API shows as enabled.
	LateDisableWins bool
	// LateEnableWins is the same for an enable.
	LateEnableWins bool
	// WhoAmIAnswersDisabled makes GET /v1/api-key of a disabled key answer 200 with api_key_disabled true rather than 403.
	WhoAmIAnswersDisabled bool
	// GuidesOnly serves what xAI's two public guides describe and nothing else.
	GuidesOnly bool
	// NotOffered names operations (see Call.Op) whose routes are unknown.
	NotOffered []string
	// UpdatePath says under which addresses keys are updated.
	UpdatePath UpdatePath
	// DisableUnsupported refuses "disabled" in the mask of an update.
	DisableUnsupported bool
	// ExpireTimeFixed refuses "expireTime" in the mask of an update.
	ExpireTimeFixed bool
	// Fixed names fields of the mask of an update that are refused; "" is every one but "disabled".
	Fixed []string
	// Ignored names fields of the mask of an update that are accepted and stay as they are.
	Ignored []string
	// ListedModified rounds modifyTime in lists to so much; below 0 lists leave it out.
	ListedModified time.Duration
	// NoExpiry creates keys without the expireTime that they were asked for with.
	NoExpiry bool
	// NameLimit cuts names to so many characters; 0: none.
	NameLimit int
	// HideFromMembers answers "Cannot find API key" to a member's management key that names the key of someone else.
	HideFromMembers bool

	// UsageUnavailable refuses usage with 403.
	UsageUnavailable bool
	// UsageUnfiltered refuses filters with 400.
	UsageUnfiltered bool
	// UsageUngrouped answers for the whole team, whatever the request groups by.
	UsageUngrouped bool
	// UsageShowsIdle names idle keys too, with zeros.
	UsageShowsIdle bool
	// UsageLimit is how many series an answer holds; limitReached reports what is left out. 0: all.
	UsageLimit int

	// ClientCertificates refuses calls without a client certificate with 403.
	ClientCertificates bool
	// NoDate leaves the Date header out; DateSkew is added to it.
	NoDate   bool
	DateSkew time.Duration
}

// UpdatePath says under which addresses keys are updated.
type UpdatePath int

// The update paths that the simulator can offer.
const (
	UpdateByReference UpdatePath = iota // PUT /auth/api-keys/{apiKeyId}
	UpdateByGuide                       // PUT /auth/teams/{teamId}/api-keys
	UpdateByBoth
)

// RateLimit is a token bucket. The zero value is no limit.
type RateLimit struct {
	PerSecond  float64
	Burst      int
	RetryAfter time.Duration // sent as a header, in whole seconds; 0: no header
}

// ManagementKey is what a management token is allowed to do.
type ManagementKey struct {
	ID, Name     string   // made up when empty
	Teams        []string // the first is its own
	Organization bool     // every team
	Ops          []string // the operations it may call (see Call.Op); nil: all
	Owner        string   // the user that made it, and whose keys it makes; "": user-1
	Member       bool     // its owner is no admin: lists show the owner's keys only
}

// Billing is a team's account.
type Billing int

// The states of an account.
const (
	BillingFine   Billing = iota
	NoCredits             // 403 on each chat
	SpendingLimit         // 429 on each chat
)

// Set changes the options while the simulator runs. Now, Seed and Clusters must stay as they are.
func (s *Sim) Set(change func(*Options)) {
	s.mu.Lock()
	defer s.unlock()
	s.now() // what was due lands under the old options
	change(&s.o)
}

// options returns the options as they are now.
func (s *Sim) options() Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o
}

// offered reports whether the route is one that this simulator serves.
func (o *Options) offered(r route) bool {
	switch {
	case r.op == "update" && slices.Contains(o.NotOffered, r.op):
		return false
	case r.op == "update" && o.GuidesOnly:
		return r.guide
	case r.op == "update":
		return o.UpdatePath == UpdateByBoth || r.guide == (o.UpdatePath == UpdateByGuide)
	case o.GuidesOnly && !inGuides(r.op):
		return false
	}
	for _, op := range o.NotOffered {
		if op == r.op {
			return false
		}
	}
	return true
}

// inGuides reports whether the two guides describe an operation.
func inGuides(op string) bool {
	switch op {
	case "create", "list", "update", "delete", "propagation", "team_models", "endpoints", "chat":
		return true
	}
	return false
}
