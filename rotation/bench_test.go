package rotation_test

import (
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// BenchmarkRotation is the processor time of one whole rotation, first create to last delete, over two targets and three
// hours of simulated time with its watches, against a simulator in the same process.
func BenchmarkRotation(b *testing.B) {
	w := newBench(b, xaisim.Options{})
	w.load(policyDoc("chat", quick, targetA, targetB))
	w.run(time.Hour)
	before := w.calls
	for b.Loop() {
		w.order(journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		w.run(3*time.Hour + time.Minute)
	}
	b.ReportMetric(float64(w.calls-before)/2/float64(b.N), "calls/rotation")
	w.settled()
	w.check()
}
