package app

import (
	"log/slog"
	"testing"
	"time"

	"rotator/internal/config"
	"rotator/policies"
)

// TestARunThatEndsLeavesNothingForLater: run --once sends what a daemon would hold back for the next message, which may be a day away.
func TestARunThatEndsLeavesNothingForLater(t *testing.T) {
	t.Parallel()
	c := &config.Config{Notify: []config.Channel{{Name: "chat", Type: "slack", Every: policies.Duration(time.Hour)}}}
	all := channels(c, slog.New(slog.DiscardHandler))
	if all[0].Every != time.Hour || withoutPauses(all)[0].Every != 0 {
		t.Errorf("channels %+v", all)
	}
}
