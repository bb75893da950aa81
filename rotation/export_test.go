package rotation

// InHand is how many values of keys this process holds in memory.
func (e *Engine) InHand() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.hand)
}
