package rotation

import "time"

// InHand is how many values of keys this process holds in memory.
func (e *Engine) InHand() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.hand)
}

// SetBoot replaces the clock that leases are measured on.
func (e *Engine) SetBoot(boot func() time.Duration) { e.boot = boot }
