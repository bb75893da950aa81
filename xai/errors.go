package xai

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says what an error means for a key and for the request, whichever API, status and body it came from.
type Class string

// The classes. Every answer that is not a success has exactly one.
const (
	// ClassKeyUnknown is inference's 400 "Incorrect API key": the key is unknown, deleted, expired, or has not yet reached
	// the cluster that was asked.
	ClassKeyUnknown Class = "key_unknown"
	// ClassUnauthenticated is a 401 in either API's own words, or a management key that could not be read.
	ClassUnauthenticated Class = "unauthenticated"
	// ClassKeyDisabled is inference's 403 "The API key … is disabled".
	ClassKeyDisabled Class = "key_disabled"
	// ClassACL is a 403 for an endpoint or a permission that the key's ACLs do not name.
	ClassACL Class = "acl"
	// ClassForbidden is any other 403 in JSON; the Management API says so when the key is for another team.
	ClassForbidden Class = "forbidden"
	// ClassModel is inference's 404: the model does not exist, or the team or the key has no access to it.
	ClassModel Class = "model"
	// ClassNotFound is the Management API's "Cannot find API key", as a JSON error.
	ClassNotFound Class = "not_found"
	// ClassRoute means that nothing lives at that address: nginx's 404 page, a redirect, a wrong base URL. See ErrNotOffered.
	ClassRoute Class = "route"
	// ClassInvalid means that the request was malformed, or was refused here before it was sent.
	ClassInvalid Class = "invalid"
	// ClassRateLimited is a 429 that asks for patience.
	ClassRateLimited Class = "rate_limited"
	// ClassBilling means no credits, no license or a spending limit: it says nothing about the key.
	ClassBilling Class = "billing"
	// ClassUnavailable is a 5xx in any shape, a page of a proxy where JSON was due, or a status that decides nothing: 408, 409, 499.
	ClassUnavailable Class = "unavailable"
	// ClassNetwork is a timeout, a reset, a refused connection, a failed name lookup or TLS handshake.
	ClassNetwork Class = "network"
	// ClassUnreadable is a success whose body is not what it should be: cut short, not JSON, too large, without an id.
	ClassUnreadable Class = "unreadable"
	// ClassCanceled means that the caller's context ended first, or that its guard stopped a change from being sent.
	ClassCanceled Class = "canceled"
)

// The operations, as they are in [Error.Op] and are told to Observe. They are few and fixed, fit for a metric's label.
const (
	OpCreate      = "create"
	OpList        = "list"
	OpUpdate      = "update"
	OpDelete      = "delete"
	OpPropagation = "propagation"
	OpRotate      = "rotate"
	OpTeamModels  = "team_models"
	OpEndpoints   = "endpoints"
	OpValidate    = "validate"
	OpAudit       = "audit"
	OpUsage       = "usage"

	OpWhoAmI = "whoami" // from here on: the inference API
	OpModels = "models"
	OpChat   = "chat"
)

// Error is the only error that calls of this package return. It holds nothing of a request or of an answer's text:
// messages of xAI carry fragments of keys, and the answer to create holds the key itself.
type Error struct {
	Op         string        // one of the Op constants
	Class      Class         // what it means
	Status     int           // HTTP status, 0 when there was no answer
	Code       string        // a number or a slug (xAI's, or ours for what has no status), bounded; never a message
	RetryAfter time.Duration // what the server asked for, at most an hour; 0 when it did not
	Date       time.Time     // of the answer's Date header, zero when there was none
	Unsent     bool          // nothing left this machine: the call certainly had no effect

	cause error // a context's error, its guard's, or the one of ManagementOptions.Key; never one that has seen an answer or a URL
}

// Error names the operation, class, status and code, and nothing else of the exchange.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "xai: %s: %s", e.Op, e.Class)
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.Code != "" {
		fmt.Fprintf(&b, ", code %s", e.Code)
	}
	if e.Code == needsCertificate {
		b.WriteString(" (xAI asks for a client certificate; set xai.tls)")
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	return b.String()
}

// Unwrap returns the error of the context or of its guard when the call was canceled, or the one of reading the management
// key.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is [ErrNotOffered] and e says so.
func (e *Error) Is(target error) bool { return target == ErrNotOffered && e.Code == notOffered }

// needsCertificate is the Code of a refusal for want of a client certificate.
const needsCertificate = "client_certificate"

// noCredentials is the Code of a 401 for a request without a key, which says nothing of any key.
const noCredentials = "unauthenticated:no-credentials"

// ClassOf returns the class of err: "" for nil, and for an error that is not an [*Error] ClassCanceled when it is a
// cancellation, otherwise ClassNetwork, which proves nothing.
func ClassOf(err error) Class {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Class
	case errors.Is(err, context.Canceled):
		return ClassCanceled
	}
	return ClassNetwork
}

// ProvesBad reports whether err shows that the key which was sent is not accepted: only an answer of the inference API
// in xAI's own words: 400 "Incorrect API key", 401 other than "no credentials", 403 "is disabled". Note that an unknown key
// may just not have propagated yet. Everything else (billing, rate limits, 5xx, pages, an empty 401, networks, the
// Management API) proves nothing about a key.
func ProvesBad(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Unsent {
		return false
	}
	switch e.Op {
	case OpWhoAmI, OpModels, OpChat:
		return e.Class == ClassKeyUnknown || e.Class == ClassKeyDisabled || e.Class == ClassUnauthenticated && e.Code != noCredentials
	}
	return false
}

// OutcomeUnknown reports whether a write that ended with err may still have had its effect, or may still have it.
// It is false only for nil, for a definite refusal, and for what was never sent.
func OutcomeUnknown(err error) bool {
	var e *Error
	switch {
	case err == nil:
		return false
	case !errors.As(err, &e):
	case e.Unsent:
		return false
	case e.Status/100 == 3:
		return true // servers redirect from where they were asked in vain, and also from where they have acted
	}
	switch ClassOf(err) {
	case ClassKeyUnknown, ClassUnauthenticated, ClassKeyDisabled, ClassACL, ClassForbidden, ClassModel,
		ClassNotFound, ClassRoute, ClassInvalid, ClassRateLimited, ClassBilling:
		return false
	}
	return true
}

// RetryAfter returns how long the server asked to wait, or 0.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
