package rotation

import (
	"sync"

	"rotator/policies"
)

// specs are policies as they were decoded last, by their canonical form: turn after turn asks for the same ones.
type specs struct {
	mu sync.Mutex
	of map[string]*policies.Policy // canonical form → what it says; never changed
}

// specsMost bounds how many are kept.
const specsMost = 512

// decode is policies.Decode. The caller may set fields of the policy, and not what they point to.
func (s *specs) decode(canonical string) (*policies.Policy, error) {
	s.mu.Lock()
	known := s.of[canonical]
	s.mu.Unlock()
	if known == nil {
		p, err := policies.Decode([]byte(canonical))
		if err != nil {
			return nil, err
		}
		s.keep(canonical, p)
		known = p
	}
	p := *known
	return &p, nil
}

func (s *specs) keep(canonical string, p *policies.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[string]*policies.Policy)
	}
	for other := range s.of {
		if len(s.of) < specsMost {
			break
		}
		delete(s.of, other)
	}
	s.of[canonical] = p
}
