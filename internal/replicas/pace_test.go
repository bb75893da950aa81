package replicas

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"rotator/xai"
	"rotator/xai/xaisim"
)

var (
	inferenceOps = []string{xai.OpWhoAmI, xai.OpModels, xai.OpChat} // all others are the Management API's, whose pace is kept
	callsMetric  = regexp.MustCompile(`(?m)^rotator_xai_requests_total\{class="(\w+)",op="(\w+)"\} (\d+)$`)
)

// managed counts the calls to the Management API that a replica says were answered, and those that were refused with 429.
func (r *replica) managed() (served, refused int) {
	r.Helper()
	var body string
	eventually(r, "metrics of "+r.name("replica"), func() (ok bool) {
		var status int
		status, body = r.probe("/metrics")
		return status == http.StatusOK
	})
	for _, m := range callsMetric.FindAllStringSubmatch(body, -1) {
		n, err := strconv.Atoi(m[3])
		switch {
		case err != nil:
			r.Fatal(err)
		case slices.Contains(inferenceOps, m[2]):
		case m[1] == string(xai.ClassRateLimited):
			refused += n
		default:
			served += n
		}
	}
	return served, refused
}

// managed counts the calls to the Management API that have reached xAI.
func (c *cluster) managed() (sent int) {
	for op, n := range c.sim.Calls() {
		if !slices.Contains(inferenceOps, op) {
			sent += n
		}
	}
	return sent
}

// longestSilence measures the longest time without a call to the Management API, from now on.
func (c *cluster) longestSilence() func() time.Duration {
	var mu sync.Mutex
	last, longest := time.Now(), time.Duration(0)
	c.sim.OnCall(func(call xaisim.Call) {
		if call.Done || slices.Contains(inferenceOps, call.Op) {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		longest, last = max(longest, time.Since(last)), time.Now()
	})
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return longest
	}
}

// TestPaceOfProcesses: three processes that have more to do than xAI allows. They keep together to a limit that none was
// told of, in fair shares; when xAI asks one of them to stay away, all do; and no consumer suffers.
func TestPaceOfProcesses(t *testing.T) {
	t.Parallel()
	const limit, d, away = 12.0, 8 * time.Second, 8 * time.Second
	c := newCluster(t, 3, 60)
	c.complain()
	users, stop := c.rotating(6 * time.Second)

	c.sim.SetRateLimit(xaisim.RateLimit{PerSecond: limit, Burst: limit})
	var served, refused, sent int
	each := make([]int, len(c.replicas))
	look := func() {
		before := c.managed()
		served, refused = 0, 0
		for i, r := range c.replicas {
			s, n := r.managed()
			each[i] = -s
			refused -= n
		}
		time.Sleep(d)
		for i, r := range c.replicas {
			s, n := r.managed()
			each[i] += s
			served += each[i]
			refused += n
		}
		sent = c.managed() - before
	}
	// How far they go below it at first hangs on how slow this machine is.
	eventually(t, "they found the limit", func() bool { look(); return refused < sent && float64(served) > limit*d.Seconds()/3 })
	// Others use the machine meanwhile, and a measurement that they spoil is made again: a wrong pace spoils them all.
	for tries := 1; ; tries++ {
		look()
		t.Logf("%v served, %d calls in %v against %v a second, %d refused", each, sent, d, limit, refused)
		want := limit * d.Seconds()
		if float64(served) >= want/6 && float64(sent) <= 1.2*want+limit && slices.Min(each) >= served/8 && slices.Max(each) <= served*2/3 {
			break
		}
		if tries == 10 {
			t.Fatalf("%d measurements, and never did they share the limit", tries)
		}
	}

	// They have more to do than they may, so that no replica is silent by chance. Calls that others had taken already may
	// still begin within a second, and one whose database is slow for a second goes on by itself for a while.
	for tries := 1; ; tries++ {
		silence := c.longestSilence()
		c.sim.Inject(xaisim.Fault{Call: xai.OpPropagation, Kind: xaisim.Status, Status: http.StatusTooManyRequests, RetryAfter: away})
		time.Sleep(3 * away)
		t.Logf("one was told to stay away for %v, and all were silent for %v", away, silence())
		if silence() >= away/2 { // those who are not told are never silent for a second
			break
		}
		if tries == 10 {
			t.Fatalf("told %d times, and never did all stay away", tries)
		}
	}
	c.sim.SetRateLimit(xaisim.RateLimit{})
	c.nothingLost(users, stop)
}
