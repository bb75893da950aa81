package journal

import "errors"

// ErrForbidden: the state table or another rule of the record does not allow what was to be written: a move that
// [State.May] refuses, a state without its marks, a second rotation in flight, a name used twice, a deletion undone.
// Nothing was written. It is a mistake of the caller, never a matter of waiting.
var ErrForbidden = errors.New("the journal does not allow it")
