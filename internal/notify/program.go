package notify

import (
	"context"
	"encoding/json"
)

// Program is a program that gets each event as one line of JSON on its standard input. It is run once for each.
type Program struct {
	// Run runs it; an error says that it did not end with 0.
	Run func(ctx context.Context, input []byte) error
	// Ready says what is wrong with the program, without running it.
	Ready func() error
}

// Check implements Sender.
func (s *Program) Check(context.Context) error { return s.Ready() }

// Most implements Sender.
func (s *Program) Most() int { return 1 }

// Send implements Sender.
func (s *Program) Send(ctx context.Context, all []Message) error {
	for _, m := range all {
		line, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := s.Run(ctx, append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}
