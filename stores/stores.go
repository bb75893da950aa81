// Package stores is the contract between the rotator and the places where consumers read their keys.
//
// A target is one place in one store. The rotator stages a successor beside the current value, proves it, promotes it,
// and discards what it staged; a store never decides anything. Each store lives in a package of its own below this one
// and passes the suite in stores/storetest.
package stores

import (
	"context"
	"errors"

	"rotator/internal/secret"
)

// Target names one place in a store: what a policy's `targets` entry holds, without the store's name.
type Target struct {
	// Path is the secret's path, in the store's own terms (a KV path, a secret id, a relative file name).
	Path string
	// Field is the field of a structured secret that holds the key. Empty: the store's default
	// (see each store: the whole value, or the field "value" where a secret is always structured).
	Field string
	// Options are the store's own per-target settings (for the file store: owner, group, mode).
	Options map[string]string
}

// The errors of the contract. A store wraps them with what it did and where, and never with a value.
var (
	// ErrNotFound: there is no such target, field or staged value.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the target holds something other than what was expected, or it was fenced; nothing was written.
	ErrConflict = errors.New("the target holds another value than expected")
	// ErrNoStaging: this target cannot hold a value beside the current one.
	ErrNoStaging = errors.New("the target cannot stage a value")
	// ErrStale: a read was answered by a replica that does not know our own last write yet. What the target holds is not
	// known; nothing was written.
	ErrStale = errors.New("the store answered with an older state than our last write")
	// ErrCannotFence: this store cannot fence such a target. The caller waits until no earlier write can land.
	ErrCannotFence = errors.New("the target cannot be fenced")
	// ErrDenied: the store refused our rights or our login. Trying again alone is unlikely to help.
	ErrDenied = errors.New("the store denies access")
	// ErrInvalid: the target cannot work as configured (a symlink, a field in a text that is not JSON,
	// a secret that another system rotates). Trying again alone is unlikely to help.
	ErrInvalid = errors.New("the target cannot be used")
)

// Store keeps secrets for consumers. Implementations are safe for concurrent use, do not retry writes on their own,
// honor the context, and never put a value in an error. Any error that is none of this package's means
// "not known": the call may or may not have had its effect, and the caller repeats it later.
type Store interface {
	// Stage puts value beside the current one, where consumers do not look. The same attempt and value twice is one.
	// ErrNoStaging: this target cannot; the caller keeps the value elsewhere.
	Stage(ctx context.Context, t Target, attempt string, value secret.Text) error

	// Staged returns the value staged for attempt. ErrNotFound: there is none (also after Discard).
	Staged(ctx context.Context, t Target, attempt string) (secret.Text, error)

	// Promote makes value what consumers read, if our field still holds a value with the fingerprint expected
	// ("" = nothing there). The value there already is success; anything else is ErrConflict and changes nothing.
	// Other fields are kept as they are at the moment of the write, also those that changed since Stage.
	// Staging first is not required.
	Promote(ctx context.Context, t Target, attempt string, value secret.Text, expected secret.Fingerprint) error

	// Current returns what a consumer reads now, from the store itself and never from a cache.
	// ErrNotFound: no such secret, an empty one, or no such field.
	Current(ctx context.Context, t Target) (secret.Text, error)

	// Discard removes what was staged for attempt, with all its traces. Nothing there is success.
	// It never changes what consumers read.
	Discard(ctx context.Context, t Target, attempt string) error
}

// Checker is a store that can say beforehand whether it could stage, promote, read and discard at a target.
// Check leaves nothing behind and changes nothing that a consumer can see. ErrDenied and ErrInvalid say what is missing;
// any other error means that it is not known now.
type Checker interface {
	Check(ctx context.Context, t Target) error
}

// Previous is a store from which the value that was in a target before can be had back, until the key is deleted.
// It returns the newest former value of the target whose fingerprint is want; ErrNotFound when it is not kept any more.
type Previous interface {
	Previous(ctx context.Context, t Target, want secret.Fingerprint) (secret.Text, error)
}

// Forgetter is a store that keeps former values as versions of the whole secret, so that writes of its other fields push
// them out. Where a secret has several targets, the caller keeps a former value itself before it is replaced: it stages it
// under an attempt of its own until it is not needed any more.
//
// Forgets reports whether that holds for the target.
type Forgetter interface {
	Forgets(ctx context.Context, t Target) (bool, error)
}

// Fencer is a store that can make every write fail that was sent to a target before. It is asked after a write whose
// answer was lost: from then on a read says what became of it.
//
// On return every Promote of t that was sent before and has not landed yet will fail when it lands, and the value that
// consumers read is the same as before. Twice is harmless. ErrNotFound: nothing is there, so there is nothing to
// fence; ErrCannotFence: the store has no way to do it. The caller then waits until no earlier write can land. Any other error
// means that the target is not fenced.
type Fencer interface {
	Fence(ctx context.Context, t Target) error
}

// Placer is a store that can tell when two targets are one place, although they are written differently: a name and an
// ARN, a path with and without a prefix that the store adds, a link. Targets of one store with equal places are one target.
// Place reads at most the store's description of the target, never a value. ErrNotFound: nothing is there yet, and its
// place is not known before.
type Placer interface {
	Place(ctx context.Context, t Target) (string, error)
}
