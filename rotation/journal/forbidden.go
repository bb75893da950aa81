package journal

import "errors"

// What a journal refuses besides the errors of its interface.
var (
	// ErrForbidden: the state table or another rule of the record does not allow what was to be written: a move that
	// [State.May] refuses, a state without its marks, a second rotation in flight, a name used twice, a deletion undone.
	// Nothing was written. It is a mistake of the caller, never a matter of waiting.
	ErrForbidden = errors.New("the journal does not allow it")
	// ErrBusy: someone acts for the policy, and did not end in time: what would take it from under him waits.
	// Nothing was written; later it goes through.
	ErrBusy = errors.New("the policy is being acted for")
)
