package api

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"rotator/rotation/due"
	"rotator/rotation/health"
	"rotator/rotation/journal"
)

// failuresStuck is how many times in a row a step fails before it counts as stuck: a hiccup is no news.
const failuresStuck = 3

// meters are what this process itself counts. What the journal knows is read from it at each scrape, see [facts].
//
// How many series there are is bounded by the configuration: per policy twelve, one more while it waits for a human, and one
// while targets of it drift; per team six; per host of a replica one, at most 100; per store and call one counter for each
// outcome and one histogram; everything else has labels from closed lists. Replicas that share a journal report the same
// facts: take their max, not their sum.
type meters struct {
	registry   *prometheus.Registry
	stepTime   *prometheus.HistogramVec
	steps      *prometheus.CounterVec
	waits      *prometheus.CounterVec
	xai        *prometheus.CounterVec
	xaiTime    *prometheus.HistogramVec
	stores     *prometheus.CounterVec
	storesTime *prometheus.HistogramVec
	undelivery *prometheus.GaugeVec
}

func newMeters(c *Server) *meters {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rotator_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "rotator_" + name, Help: help,
			Buckets: []float64{.005, .02, .1, .5, 1, 2.5, 5, 10, 30, 60}}, labels)
	}
	m := &meters{
		registry:   prometheus.NewRegistry(),
		stepTime:   histogram("step_duration_seconds", "How long steps took, by the state they began in.", "state"),
		steps:      counter("steps_total", "Steps, by the state they began in and whether they moved, wait, failed, or ended a rotation.", "state", "outcome"),
		waits:      counter("step_waits_total", "Steps after which a policy had to wait, by the reason.", "reason"),
		xai:        counter("xai_requests_total", "Calls to xAI, by the class of their outcome.", "op", "class"),
		xaiTime:    histogram("xai_request_duration_seconds", "How long calls to xAI took.", "op"),
		stores:     counter("store_requests_total", "Calls to secret stores, by their outcome.", "store", "op", "outcome"),
		storesTime: histogram("store_request_duration_seconds", "How long calls to secret stores took.", "store", "op"),
		undelivery: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "rotator_notify_failures_in_a_row",
			Help: "Deliveries of notifications that failed since the last one that went well."}, []string{"sink"}),
	}
	m.registry.MustRegister(m.stepTime, m.steps, m.waits, m.xai, m.xaiTime, m.stores, m.storesTime, m.undelivery, facts{c},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ObserveStep counts a step of a rotation: the state it began in ("" when none was in flight), its outcome in a word of a
// closed list, why it did not go on ("" when it did), and how long it took.
func (c *Server) ObserveStep(state, outcome, reason string, took time.Duration) {
	if state == "" {
		state = StateIdle
	}
	c.meters.stepTime.WithLabelValues(state).Observe(took.Seconds())
	c.meters.steps.WithLabelValues(state, outcome).Inc()
	if reason != "" {
		c.meters.waits.WithLabelValues(reason).Inc()
	}
}

// ObserveXAI counts a call to xAI: which one, the class of its outcome ("ok" or an error's class), and how long it took.
func (c *Server) ObserveXAI(op, class string, took time.Duration) {
	c.meters.xai.WithLabelValues(op, class).Inc()
	c.meters.xaiTime.WithLabelValues(op).Observe(took.Seconds())
}

// ObserveStore counts a call to a store: the store's name in the configuration, which call, its outcome ("ok" or a word
// for the failure, of a closed list), and how long it took.
func (c *Server) ObserveStore(store, op, outcome string, took time.Duration) {
	c.answers.note(store, outcome, c.o.Now())
	c.meters.stores.WithLabelValues(store, op, outcome).Inc()
	c.meters.storesTime.WithLabelValues(store, op).Observe(took.Seconds())
}

// ObserveNotify notes how many deliveries of a way out for events failed in a row; 0 after one that went well.
func (c *Server) ObserveNotify(sink string, failures int) {
	c.meters.undelivery.WithLabelValues(sink).Set(float64(failures))
}

// facts reports at each scrape what the journal knows.
type facts struct{ *Server }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rotator_"+name, help, labels, nil)
}

var (
	descInfo      = desc("build_info", "The program that runs.", "version", "commit", "goversion")
	descMode      = desc("mode", "1 for the mode of this process, 0 for the other: rotate, or observe, in which nothing is changed outside.", "mode")
	descLook      = desc("scheduler_last_look_timestamp_seconds", "When the scheduler last looked for policies that are due.")
	descUp        = desc("journal_up", "Whether the journal answers and takes what is written; while it does not answer, what it knows is absent.")
	descSize      = desc("journal_size_bytes", "What the journal takes: an SQLite file with its write-ahead log, or the tables and indexes in PostgreSQL.")
	descBackup    = desc("last_backup_timestamp_seconds", "When the journal was last backed up, as far as it knows; absent before the first time.")
	descNext      = desc("policy_next_run_timestamp_seconds", "When the next rotation of a policy is due; absent while none is foreseen.", "policy")
	descAge       = desc("key_age_seconds", "Age of the oldest key of a policy that xAI still accepts.", "policy")
	descLimit     = desc("key_age_limit_seconds", "The age that a policy promises its keys not to reach (max_age).", "policy")
	descRetired   = desc("key_retirement_age_seconds", "The age at which the old key of a policy with max_age is off, where its rotations are on time.", "policy")
	descExpiry    = desc("key_expiry_timestamp_seconds", "When the key in use of a policy expires at xAI, unless it is replaced or moved on; absent for one that does not.", "policy")
	descSuccess   = desc("last_success_timestamp_seconds", "When a rotation of a policy last became live.", "policy")
	descWaiting   = desc("policy_waiting", "1 for a policy that waits for a human, with the reason.", "policy", "reason")
	descHealth    = desc("policy_health", "1 for the health that a policy has, 0 for each other: ok, progressing, degraded, action_required or overdue.", "policy", "health")
	descOf        = desc("policy_info", "Always 1: the team of a policy, and its owner.", "policy", "team", "owner")
	descPolicies  = desc("policies", "Policies by state: a state of a rotation in flight, overlap, soaking, idle, blocked or removed.", "state")
	descHeld      = desc("policies_held", "Policies that a human holds.")
	descStuck     = desc("steps_stuck", "Policies whose step failed three times in a row or waits for a human.")
	descUnretired = desc("predecessors_unretired", "Old keys that should have been disabled or deleted by now.")
	descDrifted   = desc("drifted_targets", "Targets of a policy that hold neither a key of ours nor what they held at first; absent while there are none.", "policy")
	descEnded     = desc("rotations_total", "Rotations that ended since this process began, by how they ended and the furthest step they had reached.", "outcome", "step")
	descOrphans   = desc("orphan_keys", "Keys that have the rotator's prefix and that no intent names.", "team")
	descTeamUp    = desc("team_up", "Whether the last look at a team at xAI went well: its management key was accepted and its keys were listed.", "team")
	descReplicas  = desc("replicas", "Replicas that were seen in the last 30 seconds.")
	descSeen      = desc("replica_last_seen_timestamp_seconds", "When a replica on a host was last seen; it is forgotten a day later, and at once when it stops.", "replica")
	descTeamKeys  = desc("team_keys", "Keys in the last list of a team, by what they are to the rotator.", "team", "kind")
	descKeysWide  = desc("team_keys_wide", "Keys of a team that work and may use every model by every endpoint; all of a policy's count as one.", "team")
	descUnused    = desc("team_keys_unused", "Keys of a team that are on, older than 30 days and not used for as long; absent until billing answered.", "team")
	descMissing   = desc("team_rights_missing", "Models and endpoints that policies of a team name and xAI does not offer to it.", "team")
	descMgmtKey   = desc("management_key_age_seconds", "How long the management key of a team has been in use here: it is at least as old.", "team")
	descReloadOK  = desc("config_last_reload_successful", "Whether all that the files said was in force when this process last read them; what was wrong stays as it was.")
	descReloadAt  = desc("config_last_reload_success_timestamp_seconds", "When this process last read its files and found no problem; 0 when it never did.")
	descUnlogged  = desc("log_lines_dropped_total", "Lines of this process's log that were never written: nothing read it for a while, or writing failed.")
	descSpans     = desc("trace_spans_total", "Spans of traces: sent, dropped for want of room, or failed to be taken by the collector.", "outcome")
)

// Describe implements prometheus.Collector.
func (f facts) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descInfo, descMode, descLook, descUp, descAge, descLimit, descRetired, descExpiry, descSuccess, descWaiting, descHealth, descOf,
		descPolicies, descHeld, descStuck, descUnretired, descDrifted, descEnded, descOrphans, descTeamUp, descTeamKeys, descKeysWide, descUnused, descMissing, descMgmtKey, descSpans,
		descReplicas, descSeen, descReloadOK, descReloadAt, descUnlogged,
		descSize, descBackup, descNext} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. A journal that does not answer must not hide the scheduler's last look.
func (f facts) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descInfo, 1, f.o.Version, f.o.Commit, runtime.Version())
	for _, mode := range []string{ModeRotate, ModeObserve} {
		gauge(descMode, truth(mode == f.o.Mode()), mode)
	}
	if f.o.Scheduler != nil {
		gauge(descLook, unix(f.o.Scheduler.LastLook()))
	}
	if f.o.Spans != nil {
		for outcome, n := range f.o.Spans() {
			ch <- prometheus.MustNewConstMetric(descSpans, prometheus.CounterValue, float64(n), outcome)
		}
	}
	if f.o.Unlogged != nil {
		ch <- prometheus.MustNewConstMetric(descUnlogged, prometheus.CounterValue, float64(f.o.Unlogged()))
	}
	if f.o.Loaded != nil {
		l := f.o.Loaded()
		gauge(descReloadOK, truth(l.Problems == 0 && !l.At.IsZero()))
		gauge(descReloadAt, unix(l.Succeeded))
	}
	s, err := f.seen.get()
	if err != nil {
		f.o.Log.Warn("metrics are incomplete", "err", err)
		gauge(descUp, 0)
		return
	}
	gauge(descUp, truth(f.acts()))
	gauge(descSize, float64(s.size))
	if !s.backup.IsZero() {
		gauge(descBackup, unix(s.backup))
	}
	f.ofPolicies(s, gauge)
	f.ofReplicas(s, gauge)
	for _, t := range s.teams {
		gauge(descTeamUp, truth(t.Error == ""), t.Name)
		gauge(descOrphans, float64(t.Orphans), t.Name)
		gauge(descTeamKeys, float64(t.Managed), t.Name, "managed")
		gauge(descTeamKeys, float64(t.Unmanaged), t.Name, "unmanaged")
		gauge(descTeamKeys, float64(t.Orphans), t.Name, "orphan")
		gauge(descKeysWide, float64(s.hygiene[t.Name].wide), t.Name)
		gauge(descMissing, float64(s.hygiene[t.Name].missing), t.Name)
		if n := s.hygiene[t.Name].unused; n >= 0 {
			gauge(descUnused, float64(n), t.Name)
		}
		if k := s.keys[t.Name]; !k.since.IsZero() {
			gauge(descMgmtKey, max(0, f.o.Now().Sub(k.since).Seconds()), t.Name)
		}
	}
	for e, n := range s.ended {
		ch <- prometheus.MustNewConstMetric(descEnded, prometheus.CounterValue, float64(n), string(e.outcome), string(e.reached))
	}
}

func (f facts) ofPolicies(s *snapshot, gauge func(*prometheus.Desc, float64, ...string)) {
	states := map[string]int{StateIdle: 0, StateBlocked: 0, StateRemoved: 0}
	for _, s := range []journal.State{journal.Overlap, journal.Soaking, journal.RollingBack} {
		states[string(s)] = 0
	}
	for _, i := range journal.States {
		if !i.State.Final() {
			states[string(i.State)] = 0
		}
	}
	var stuck, held, old int
	now := f.o.Now()
	for _, sum := range s.policies {
		p, spec := sum.Policy, specOf(sum.Policy)
		states[stateOf(sum, f.needsHuman)]++
		is, _ := health.Shown(&p, sum.Hold, now)
		for _, h := range health.All {
			gauge(descHealth, truth(h == is), p.Name, string(h))
		}
		gauge(descOf, 1, p.Name, p.Team, p.Owner)
		if next := nextRun(sum); !next.IsZero() {
			gauge(descNext, unix(next), p.Name)
		}
		if age, ok := ageOf(p, now); ok {
			gauge(descAge, age.Seconds(), p.Name)
		}
		if spec.MaxAge > 0 {
			gauge(descLimit, spec.MaxAge.Std().Seconds(), p.Name)
			gauge(descRetired, due.RetirementAge(spec).Seconds(), p.Name)
		}
		if !p.KeyExpires.IsZero() {
			gauge(descExpiry, unix(p.KeyExpires), p.Name)
		}
		if !p.LastSuccess.IsZero() {
			gauge(descSuccess, unix(p.LastSuccess), p.Name)
		}
		human := f.needsHuman(p.Reason)
		if human {
			gauge(descWaiting, 1, p.Name, string(p.Reason))
		}
		if human || p.Failures >= failuresStuck {
			stuck++
		}
		if sum.Hold.Active(now) {
			held++
		}
		if sum.Drifted > 0 {
			gauge(descDrifted, float64(sum.Drifted), p.Name)
		}
		old += unretired(sum, spec.Retire, now)
	}
	for state, n := range states {
		gauge(descPolicies, float64(n), state)
	}
	gauge(descHeld, float64(held))
	gauge(descStuck, float64(stuck))
	gauge(descUnretired, float64(old))
}

// acts reports whether the journal hands out work, as far as a scheduler here knows.
func (f facts) acts() bool {
	if f.o.Scheduler == nil {
		return true
	}
	_, err := f.o.Scheduler.LastTry()
	return err == nil
}

// truth is b as Prometheus writes it.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unix is t as Prometheus writes times, 0 when it is not yet.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
