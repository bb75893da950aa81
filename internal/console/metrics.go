package console

import "time"

type meters struct{}

func newMeters(*Console) *meters { return &meters{} }

// ObserveStep counts a step of a rotation: the state it began in ("" when none was in flight), why it did not go on
// ("" when it did), and how long it took.
func (c *Console) ObserveStep(state, reason string, took time.Duration) {}

// ObserveXAI counts a call to xAI: which one, the class of its outcome ("ok" or an error's class), and how long it took.
func (c *Console) ObserveXAI(op, class string, took time.Duration) {}

// ObserveStore counts a call to a store: the store's name in the configuration, which call, its outcome ("ok" or a word
// for the failure, of a closed list), and how long it took.
func (c *Console) ObserveStore(store, op, outcome string, took time.Duration) {}

// ObserveNotify notes how many deliveries of a way out for events failed in a row; 0 after one that went well.
func (c *Console) ObserveNotify(sink string, failures int) {}
