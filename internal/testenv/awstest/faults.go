package awstest

import "slices"

// Fault makes calls go wrong. The zero Fault loses the connection of the next call, whatever it is, before it had its
// effect.
type Fault struct {
	Action string // "PutSecretValue" and so on; "": every action
	Skip   int    // how many such calls go well first
	Times  int    // how many then fail: 0 means one, a negative number all
	After  bool   // the call has its effect, and only the answer goes wrong
	Code   string // the error code that AWS answers; "": the connection is lost
}

func (f *Fault) err() error {
	if f.Code == "" {
		return errLost
	}
	return fail(f.Code, "injected")
}

// Inject adds faults. Of several that fit a call, the first one injected strikes.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Times == 0 {
			f.Times = 1
		}
		s.faults = append(s.faults, &f)
	}
}

// Heal takes all faults and denials away and gives the KMS key back.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.kmsOff = nil, false
	clear(s.denied)
}

// nextFault returns the fault that strikes this call of action, if any, and counts it. The lock is held.
func (s *Server) nextFault(action string) *Fault {
	for i, f := range s.faults {
		if f.Action != "" && f.Action != action {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times--; f.Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return f
	}
	return nil
}

// Deny takes the rights to actions away: AccessDeniedException.
func (s *Server) Deny(actions ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range actions {
		s.denied[a] = true
	}
}

// DisableKMS makes every value unreadable and every write fail, as a disabled KMS key does.
func (s *Server) DisableKMS() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kmsOff = true
}

// OnCall has f called before every call that is permitted has its effect, without a lock held: f may use the server. A nil
// f ends it.
func (s *Server) OnCall(f func(Call)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onCall = f
}

// Calls returns every call to Secrets Manager so far, also those denied or lost.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}
