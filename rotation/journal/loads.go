package journal

import "time"

// Reading is what one process read from the files of policies.
type Reading struct {
	// Load is what is recorded of the reading itself, but for At and Policies. Without a replica nothing is.
	Load Load
	// By says who had the files read; "": no one, they were read again by themselves.
	By string
	// Specs are the policies that were accepted.
	Specs []Spec
	// Again names specs that the replica gave before, the same: what the journal has of them otherwise, another one read later,
	// and it stays. One that was removed comes back anyway.
	Again map[string]bool
	// Kept says why the files' word on a policy was refused or could not be read, by name. A policy that the journal does not
	// know stays unknown.
	Kept map[string]string
	// Partial: something that could not be read may name any policy.
	Partial bool
}

// Load is what a replica last read from the files of policies.
type Load struct {
	Replica  string
	At       time.Time // on the journal's clock
	Policies int       // in force after it
	Problems int       // 0: all that the files say was accepted
	Error    string    // the first problems; "" without
	Digest   string    // the same for the same set of problems; "" without
}

// OK reports whether all that the files say was accepted.
func (l Load) OK() bool { return l.Problems == 0 }
