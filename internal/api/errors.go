package api

import (
	"errors"
	"net/http"

	"rotator/policies"
	"rotator/rotation/journal"
)

// The exit codes of the commands, which errors of the API carry as their code.
const (
	ExitFailed  = 1 // it did not work
	ExitUsage   = 2 // what was asked for, or the configuration, is wrong
	ExitWaiting = 3 // a named policy needs a human, is overdue or is held
)

// ErrNoDaemon means that no daemon answers at the socket.
var ErrNoDaemon = errors.New("no daemon answers at the socket")

// Error is a failure as the API reports it: the same for a command that talks to a daemon and for one that works alone.
// [Actions] may return one to say which exit code its failure has.
type Error struct {
	Message  string   `json:"error"`
	Code     int      `json:"code"`               // an exit code of the commands
	Problems []string `json:"problems,omitempty"` // everything that is wrong, as file:line: what

	status int // of the HTTP answer; 0: that of Code
}

// Error implements error. The problems are not in it.
func (e *Error) Error() string { return e.Message }

func usage(message string) *Error { return &Error{Message: message, Code: ExitUsage} }

// asError says how an error is reported outside, and with which HTTP status.
func asError(err error) *Error {
	var told *Error
	var problems policies.Problems
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &told):
		e := *told
		if e.status == 0 {
			e.status = map[int]int{ExitUsage: http.StatusBadRequest, ExitWaiting: http.StatusConflict}[e.Code]
		}
		if e.status == 0 {
			e.status = http.StatusInternalServerError
		}
		return &e
	case errors.As(err, &problems):
		e := &Error{Message: "the configuration has problems; what they name stays as it was, and all else is in force", Code: ExitUsage, status: http.StatusUnprocessableEntity}
		for _, p := range problems {
			e.Problems = append(e.Problems, p.String())
		}
		return e
	case errors.As(err, &tooLarge):
		return &Error{Message: "the request is too large", Code: ExitUsage, status: http.StatusRequestEntityTooLarge}
	case errors.Is(err, journal.ErrNotFound):
		return &Error{Message: err.Error(), Code: ExitUsage, status: http.StatusNotFound}
	case errors.Is(err, journal.ErrForbidden):
		return &Error{Message: err.Error(), Code: ExitFailed, status: http.StatusConflict}
	}
	return &Error{Message: err.Error(), Code: ExitFailed, status: http.StatusInternalServerError}
}
