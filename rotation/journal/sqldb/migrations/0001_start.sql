-- compatible with schema 1
-- Times are microseconds since 1970 UTC; NULL is "not yet". Flags are 0 or 1. No column ever holds a secret.

CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

-- Name to spec_error: the loader's. The rest: the owner's of the claim, but for the claim itself.
CREATE TABLE policies (
  name           TEXT PRIMARY KEY,
  team           TEXT NOT NULL,
  owner          TEXT NOT NULL,
  spec           TEXT NOT NULL,
  first_seen     BIGINT,
  removed_at     BIGINT,
  file           TEXT NOT NULL DEFAULT '',    -- that the accepted spec was read from
  spec_error     TEXT NOT NULL DEFAULT '',    -- why the spec is older than the file; '' where it is not
  spec_at        BIGINT,                      -- when the files last said something new, and the policy was not due
  next_run_at    BIGINT,
  chain          TEXT NOT NULL DEFAULT '',    -- the last link of its chain of events
  due_at         BIGINT,
  due_cause      TEXT NOT NULL DEFAULT '',
  not_before     BIGINT,
  watch_at       BIGINT,
  lost_keys      BIGINT NOT NULL DEFAULT 0,
  stays_on       BIGINT NOT NULL DEFAULT 0,
  wanted_at      BIGINT,
  wanted_trigger TEXT NOT NULL DEFAULT '',
  wanted_why     TEXT NOT NULL DEFAULT '',
  wanted_by      TEXT NOT NULL DEFAULT '',
  decommission_at     BIGINT,                 -- the policy's keys are to go without a successor
  decommission_why    TEXT NOT NULL DEFAULT '',
  decommission_by     TEXT NOT NULL DEFAULT '',
  decommission_outage BIGINT NOT NULL DEFAULT 0, -- whatever still reads them
  decommissioned_at   BIGINT,                 -- when the last of them was gone
  reconcile_mark TEXT NOT NULL DEFAULT '',
  reconcile_from BIGINT,
  last_success   BIGINT,
  reason         TEXT NOT NULL DEFAULT '',
  error          TEXT NOT NULL DEFAULT '',
  since          BIGINT,
  failures       BIGINT NOT NULL DEFAULT 0,
  age_alert_at   BIGINT,
  held_at        BIGINT,                      -- when the owner last saw a hold in force
  health         TEXT NOT NULL DEFAULT '' CHECK (health IN ('', 'ok', 'progressing', 'degraded', 'action_required', 'overdue')),
  health_reason  TEXT NOT NULL DEFAULT '',
  overdue_at     BIGINT,                      -- from when the policy is overdue, unless its owner writes something else
  overdue_reason TEXT NOT NULL DEFAULT '',
  proved_at      BIGINT,                      -- the oldest of the last reads of all targets and the live key's last proof
  stale_at       BIGINT,                      -- from when that is too old
  -- made from keys and rotations at every commit
  rotation_id    TEXT NOT NULL DEFAULT '',
  key_id         TEXT NOT NULL DEFAULT '',
  fingerprint    TEXT NOT NULL DEFAULT '',
  live_since     BIGINT,
  oldest_key     BIGINT,
  key_expires    BIGINT,
  wake_seq       BIGINT NOT NULL DEFAULT 0,   -- grows with every word that the owner has to hear
  lease_owner    TEXT NOT NULL DEFAULT '',    -- '' = not claimed
  lease_epoch    BIGINT NOT NULL DEFAULT 0,   -- grows with every claim; every write of an owner is guarded by it
  lease_until    BIGINT,                      -- NULL while claimed: never ends by itself
  claimed_at     BIGINT,                      -- when the claim in hand was made
  CHECK (lease_owner <> '' OR lease_until IS NULL)
);
CREATE INDEX policies_due ON policies (next_run_at);
CREATE INDEX policies_leased ON policies (lease_until) WHERE lease_owner <> '';
-- Policies at rest wait for their watch alone, and are claimed apart from the others.
CREATE INDEX policies_resting ON policies (next_run_at) WHERE rotation_id = '' AND next_run_at = watch_at;
CREATE INDEX policies_moving ON policies (next_run_at) WHERE rotation_id <> '' OR next_run_at IS DISTINCT FROM watch_at;

CREATE TABLE rotations (
  id           TEXT PRIMARY KEY,
  policy       TEXT NOT NULL,
  state        TEXT NOT NULL,
  trigger      TEXT NOT NULL,
  why          TEXT NOT NULL,
  said_by      TEXT NOT NULL,
  spec         TEXT NOT NULL,
  key_ref      TEXT NOT NULL,
  key_id       TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  existing     BIGINT NOT NULL,
  old_key_ids  TEXT NOT NULL,
  tries        BIGINT NOT NULL,
  started_at   BIGINT,
  entered_at   BIGINT,
  staged_at    BIGINT,
  verified_at  BIGINT,
  promoting_at BIGINT,
  canary_from  BIGINT,
  canary_over  BIGINT,
  live_at      BIGINT,
  ended_at     BIGINT,
  try_at       BIGINT,
  failures     BIGINT NOT NULL,
  reason       TEXT NOT NULL,
  error        TEXT NOT NULL,
  -- made from the state table in journal/states.go; a test compares
  CHECK (state IN ('planned', 'staged', 'verified', 'promoting', 'live', 'aborted', 'superseded', 'rolled_back')),
  CHECK (key_ref <> '' OR state NOT IN ('staged', 'verified', 'promoting', 'live', 'rolled_back')),
  CHECK (promoting_at IS NOT NULL OR state NOT IN ('promoting', 'live', 'rolled_back')),
  CHECK (promoting_at IS NULL OR state NOT IN ('planned', 'staged', 'verified', 'aborted')),
  CHECK (live_at IS NOT NULL OR state NOT IN ('live')),
  CHECK (live_at IS NULL OR state NOT IN ('planned', 'staged', 'verified', 'promoting', 'aborted', 'superseded', 'rolled_back')),
  CHECK (ended_at IS NOT NULL OR state NOT IN ('aborted', 'superseded', 'rolled_back')),
  CHECK (ended_at IS NULL OR state NOT IN ('planned', 'staged', 'verified', 'promoting'))
);
CREATE UNIQUE INDEX rotations_in_flight ON rotations (policy) WHERE state IN ('planned', 'staged', 'verified', 'promoting');
CREATE INDEX rotations_open ON rotations (policy) WHERE ended_at IS NULL;
CREATE INDEX rotations_by_policy ON rotations (policy, started_at);
CREATE INDEX rotations_by_start ON rotations (started_at);

CREATE TABLE keys (
  ref                   TEXT PRIMARY KEY CHECK (ref <> ''), -- in the name of a key that was made here
  id                    TEXT NOT NULL,
  policy                TEXT NOT NULL,
  team                  TEXT NOT NULL,
  name                  TEXT NOT NULL,
  kept_name             TEXT NOT NULL, -- where xAI shortened the name
  rotation              TEXT NOT NULL, -- '' for a rehearsal's or an adopted key
  user_id               TEXT NOT NULL,
  spec                  TEXT NOT NULL,
  origin                TEXT NOT NULL CHECK (origin IN ('created', 'adopted')),
  state                 TEXT NOT NULL,
  fingerprint           TEXT NOT NULL,
  created_at            BIGINT,
  expires_at            BIGINT,
  exposed_at            BIGINT,
  live_at               BIGINT,
  retire_from           BIGINT,
  idle_from             BIGINT,
  disabled_at           BIGINT,
  deleted_at            BIGINT,
  replaced_by           TEXT NOT NULL,
  retire_rotation       TEXT NOT NULL,
  compromised_at        BIGINT,
  compromised_why       TEXT NOT NULL,
  compromised_by        TEXT NOT NULL,
  revoked_at            BIGINT,
  propagated_at         BIGINT,
  propagation_waived_at BIGINT,
  despite               TEXT NOT NULL,
  never_disabled        BIGINT NOT NULL,
  health                TEXT NOT NULL,
  health_at             BIGINT,
  bad_answers           BIGINT NOT NULL,
  bad_since             BIGINT,
  proved_at             BIGINT,
  asked                 TEXT NOT NULL, -- what its policy last asked of xAI for it
  shown                 TEXT NOT NULL, -- what xAI was to show from then on
  listed                TEXT NOT NULL, -- what xAI showed last
  drift                 TEXT NOT NULL, -- what someone changed at xAI, as it was told
  update_for            TEXT NOT NULL, -- the policy's word that the following is about
  refused               TEXT NOT NULL,
  update_at             BIGINT,
  update_tries          BIGINT NOT NULL,
  update_reason         TEXT NOT NULL,
  update_error          TEXT NOT NULL,
  try_at                BIGINT,
  tries                 BIGINT NOT NULL,
  reason                TEXT NOT NULL,
  error                 TEXT NOT NULL,
  listed_off            BIGINT NOT NULL DEFAULT 0, -- whether the last list showed it off
  CHECK (name <> '' OR origin = 'adopted'),
  -- made from the table of a key's states in journal/keys.go; a test compares
  CHECK (state IN ('creating', 'candidate', 'promoting', 'standby', 'live', 'retiring', 'disabled', 'rejected', 'deleting', 'deleted', 'absent', 'forgotten')),
  CHECK (id <> '' OR state NOT IN ('candidate', 'promoting', 'standby', 'live', 'retiring', 'disabled', 'rejected', 'deleting', 'deleted')),
  CHECK (id = '' OR state NOT IN ('creating', 'absent')),
  CHECK (exposed_at IS NOT NULL OR state NOT IN ('promoting', 'live', 'retiring', 'disabled')),
  CHECK (exposed_at IS NULL OR state NOT IN ('creating', 'candidate', 'standby', 'absent')),
  CHECK (disabled_at IS NOT NULL OR state NOT IN ('disabled')),
  CHECK (disabled_at IS NULL OR state NOT IN ('creating', 'candidate', 'promoting', 'standby', 'live', 'retiring')),
  CHECK (deleted_at IS NOT NULL OR state NOT IN ('deleted')),
  CHECK (deleted_at IS NULL OR state NOT IN ('creating', 'candidate', 'promoting', 'standby', 'live', 'retiring', 'disabled', 'rejected', 'deleting', 'absent', 'forgotten'))
);
CREATE UNIQUE INDEX keys_by_id ON keys (id) WHERE id <> '';
CREATE UNIQUE INDEX keys_live ON keys (policy) WHERE state = 'live';
CREATE INDEX keys_of_policy ON keys (policy) WHERE state NOT IN ('deleted', 'absent', 'forgotten');
-- xAI lets people give two keys one name; ours have names of their own, for ever.
CREATE UNIQUE INDEX keys_by_given_name ON keys (name) WHERE origin = 'created';
CREATE INDEX keys_by_name ON keys (name);
CREATE INDEX keys_by_team ON keys (team) WHERE state NOT IN ('deleted', 'absent', 'forgotten');
CREATE INDEX keys_by_fingerprint ON keys (fingerprint) WHERE fingerprint <> '';

-- A change that was sent to xAI or to a store, or is about to be.
CREATE TABLE effects (
  id           TEXT PRIMARY KEY,
  policy       TEXT NOT NULL,
  key_ref      TEXT NOT NULL,
  kind         TEXT NOT NULL CHECK (kind IN ('create', 'update', 'enable', 'disable', 'delete', 'stage', 'unstage', 'promote', 'fence')),
  target_store TEXT NOT NULL,
  target_path  TEXT NOT NULL,
  target_field TEXT NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('open', 'done', 'refused', 'withdrawn', 'unknown', 'settled')),
  at           BIGINT NOT NULL,
  quiet_at     BIGINT NOT NULL,
  ack_at       BIGINT,
  closed_at    BIGINT,
  expected     TEXT NOT NULL,
  error        TEXT NOT NULL,
  CHECK (kind NOT IN ('create', 'update', 'enable', 'disable', 'delete') OR key_ref <> '' AND target_store = '' AND target_path = '' AND target_field = ''),
  CHECK (kind IN ('create', 'update', 'enable', 'disable', 'delete') OR target_store <> ''),
  CHECK (closed_at IS NULL OR state NOT IN ('open', 'unknown')),
  CHECK (closed_at IS NOT NULL OR state NOT IN ('refused', 'withdrawn', 'settled')),
  CHECK (ack_at IS NULL OR state IN ('done', 'settled'))
);
CREATE INDEX effects_of_policy ON effects (policy) WHERE closed_at IS NULL;
CREATE INDEX effects_of_key ON effects (key_ref) WHERE closed_at IS NULL;
CREATE INDEX effects_by_end ON effects (closed_at) WHERE closed_at IS NOT NULL;

-- A place that two policies used has two rows: what the earlier one saw there still counts until it reads otherwise.
CREATE TABLE targets (
  policy       TEXT NOT NULL,
  store        TEXT NOT NULL,
  path         TEXT NOT NULL,
  field        TEXT NOT NULL,
  place        TEXT NOT NULL DEFAULT '',
  status       TEXT NOT NULL DEFAULT '' CHECK (status IN ('', 'empty', 'ok', 'drift', 'foreign', 'missing', 'unreadable', 'other_policy', 'other_rotator', 'same_place')),
  key_id       TEXT NOT NULL DEFAULT '',
  fingerprint  TEXT NOT NULL DEFAULT '',
  replaceable  TEXT NOT NULL DEFAULT '',
  decision     TEXT NOT NULL DEFAULT '' CHECK (decision IN ('', 'overwrite', 'leave', 'drop')),
  decided_for  TEXT NOT NULL DEFAULT '',
  contact_at   BIGINT,
  empty_from   BIGINT,
  empty_at     BIGINT,
  seen_at      BIGINT,
  removed_at   BIGINT,
  error        TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (policy, store, path, field)
);

-- Whether another policy's target is the same place is asked at every watch.
CREATE INDEX targets_by_place ON targets (place) WHERE place <> '';

-- What a target was seen to hold, and may still.
CREATE TABLE sightings (
  policy       TEXT NOT NULL,
  store        TEXT NOT NULL,
  path         TEXT NOT NULL,
  field        TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  key_id       TEXT NOT NULL,
  first_seen   BIGINT,
  absent_since BIGINT,
  PRIMARY KEY (policy, store, path, field, fingerprint)
);
CREATE INDEX sightings_by_key ON sightings (key_id); -- '': not identified
CREATE INDEX sightings_by_fingerprint ON sightings (fingerprint);

CREATE TABLE orders (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  policy          TEXT NOT NULL,
  kind            TEXT NOT NULL CHECK (kind IN ('rotate', 'abort', 'rollback', 'revive', 'resolve', 'propagation', 'rehearse', 'claim', 'revoke', 'decommission')),
  trigger         TEXT NOT NULL,
  supersede       BIGINT NOT NULL,
  false_alarm     BIGINT NOT NULL,
  accept_outage   BIGINT NOT NULL,
  target_store    TEXT NOT NULL,
  target_path     TEXT NOT NULL,
  target_field    TEXT NOT NULL,
  decision        TEXT NOT NULL,
  key_ids         TEXT NOT NULL,          -- that the order speaks of
  why             TEXT NOT NULL,
  said_by         TEXT NOT NULL,
  said_from       TEXT NOT NULL,          -- where it was given
  at              BIGINT,
  done_at         BIGINT,
  refused         TEXT NOT NULL,
  rotation_id     TEXT NOT NULL
);
CREATE INDEX orders_open ON orders (policy) WHERE done_at IS NULL;

CREATE TABLE holds (
  policy  TEXT PRIMARY KEY REFERENCES policies (name) ON UPDATE CASCADE ON DELETE CASCADE,
  reason  TEXT NOT NULL,
  said_by TEXT NOT NULL,
  scope   TEXT NOT NULL CHECK (scope IN ('', 'all', 'rotations')),
  at      BIGINT NOT NULL,
  until   BIGINT
);

CREATE TABLE events (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  at       BIGINT,
  policy   TEXT NOT NULL,
  rotation TEXT NOT NULL,
  kind     TEXT NOT NULL CHECK (kind <> ''),
  data     TEXT NOT NULL,                    -- a JSON object of facts by name, or ''
  link     TEXT NOT NULL,                    -- a hash of the link before it in its chain, and of all that the event says
  link_before TEXT NOT NULL,                 -- of an event that explains a key: the link before; else ''
  key_ref  TEXT NOT NULL                     -- of an event that explains a key: which; else ''
);
-- The gate asks how a key became ours.
CREATE INDEX events_of_key ON events (key_ref) WHERE key_ref <> '';

CREATE TABLE chores (
  name TEXT PRIMARY KEY,
  at   BIGINT NOT NULL
);

CREATE TABLE teams (
  name              TEXT PRIMARY KEY,
  id                TEXT NOT NULL,
  scope             TEXT NOT NULL,
  management_key_id TEXT NOT NULL,
  validated_at      BIGINT,
  listed_at         BIGINT,
  managed           BIGINT NOT NULL,
  unmanaged         BIGINT NOT NULL,
  orphans           BIGINT NOT NULL,
  error             TEXT NOT NULL
);

-- Who acts for the policies, for people to see.
CREATE TABLE replicas (
  name       TEXT PRIMARY KEY,              -- the owner of its claims
  host       TEXT NOT NULL,
  version    TEXT NOT NULL,
  observes   BIGINT NOT NULL DEFAULT 0,     -- 1: it is in observe mode
  started_at BIGINT,
  seen_at    BIGINT NOT NULL
);

-- What each of them last read from the files of policies.
CREATE TABLE loads (
  replica  TEXT PRIMARY KEY,
  at       BIGINT NOT NULL,
  policies BIGINT NOT NULL,                 -- in force after it
  problems BIGINT NOT NULL,
  error    TEXT NOT NULL,
  digest   TEXT NOT NULL,                   -- of the set of problems; '': there is none
  names    TEXT NOT NULL DEFAULT ''         -- of the policies that its files name, one a line, where replicas share the journal
);

-- The pace of calls that all replicas share, one row for each of xAI's teams.
CREATE TABLE paces (
  name       TEXT PRIMARY KEY,
  rate       DOUBLE PRECISION NOT NULL,     -- calls a second
  free_at    BIGINT NOT NULL,               -- when the next call may begin; in the past: what was saved up for a burst
  changed_at BIGINT NOT NULL,               -- when the rate last moved
  resume_at  BIGINT NOT NULL,               -- no call before
  asked_at   BIGINT NOT NULL,               -- when calls were last asked for
  begin_at   BIGINT NOT NULL                -- when those may begin
);

-- Who writes at a place that several policies write at. A row counts while the claim that it names is good.
CREATE TABLE places (
  name   TEXT PRIMARY KEY,
  policy TEXT NOT NULL,
  owner  TEXT NOT NULL,
  epoch  BIGINT NOT NULL,
  until  BIGINT NOT NULL                    -- the claim's lease when the place was taken; 0: none
);

-- One row: the history that the database was last seen to follow. SQLite needs none.
CREATE TABLE lineage (
  timeline     TEXT NOT NULL,
  recovered_at BIGINT NOT NULL,             -- when commits were last found to be lost, on the database's clock
  database_id  TEXT NOT NULL DEFAULT ''     -- that the lineage is of; '': not known
);
