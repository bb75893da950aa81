-- compatible with schema 1
-- Times are microseconds since 1970 UTC; NULL is "not yet". Flags are 0 or 1. No column ever holds a secret.

CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

-- Name to spec, removed_at: the loader's. The rest: the owner's of the claim, but for the claim itself.
CREATE TABLE policies (
  name         TEXT PRIMARY KEY,
  team         TEXT NOT NULL,
  owner        TEXT NOT NULL,
  spec         TEXT NOT NULL,
  first_seen   BIGINT,
  removed_at   BIGINT,
  next_run_at  BIGINT,
  step_at      BIGINT,
  due_at       BIGINT,
  due_cause    TEXT NOT NULL DEFAULT '',
  not_before   BIGINT,
  watch_at     BIGINT,
  rotation_id  TEXT NOT NULL DEFAULT '',
  key_id       TEXT NOT NULL DEFAULT '',
  fingerprint  TEXT NOT NULL DEFAULT '',
  live_since   BIGINT,
  last_success BIGINT,
  oldest_key   BIGINT,
  key_expires  BIGINT,
  reason       TEXT NOT NULL DEFAULT '',
  error        TEXT NOT NULL DEFAULT '',
  since        BIGINT,
  failures     BIGINT NOT NULL DEFAULT 0,
  age_alert_at BIGINT,
  wake_seq     BIGINT NOT NULL DEFAULT 0,   -- grows with every word that the owner has to hear
  lease_owner  TEXT NOT NULL DEFAULT '',    -- '' = not claimed
  lease_epoch  BIGINT NOT NULL DEFAULT 0,   -- grows with every claim; every write of an owner is guarded by it
  lease_until  BIGINT,                      -- NULL while claimed: never ends by itself
  CHECK (lease_owner <> '' OR lease_until IS NULL)
);
CREATE INDEX policies_due ON policies (next_run_at);
CREATE INDEX policies_leased ON policies (lease_until) WHERE lease_owner <> '';

CREATE TABLE rotations (
  id              TEXT PRIMARY KEY,
  policy          TEXT NOT NULL,
  state           TEXT NOT NULL,
  trigger         TEXT NOT NULL,
  why             TEXT NOT NULL,
  spec            TEXT NOT NULL,
  attempt         TEXT NOT NULL,
  key_id          TEXT NOT NULL,
  fingerprint     TEXT NOT NULL,
  old_key_ids     TEXT NOT NULL,
  tries           BIGINT NOT NULL,
  started_at      BIGINT,
  entered_at      BIGINT,
  staged_at       BIGINT,
  promoting_at    BIGINT,
  live_at         BIGINT,
  disabled_at     BIGINT,
  ended_at        BIGINT,
  propagated_at   BIGINT,
  propagation_ok  BIGINT NOT NULL,
  bad_since       BIGINT,
  bad_count       BIGINT NOT NULL,
  bad_at          BIGINT,
  idle_wait_from  BIGINT,
  discarded       BIGINT NOT NULL,
  restored_at     BIGINT,
  hold_after      TEXT NOT NULL,
  restore_key_id  TEXT NOT NULL,
  error           TEXT NOT NULL,
  -- made from the state table in journal/states.go; a test compares
  CHECK (state IN ('planned', 'staged', 'verified', 'promoting', 'live', 'retiring', 'done', 'superseded', 'aborting', 'aborted', 'rolling_back', 'rolled_back')),
  CHECK (key_id <> '' OR state NOT IN ('staged', 'verified', 'promoting', 'live', 'retiring', 'done', 'superseded', 'rolling_back', 'rolled_back')),
  CHECK (promoting_at IS NOT NULL OR state NOT IN ('promoting', 'live', 'retiring', 'done', 'superseded', 'rolling_back', 'rolled_back')),
  CHECK (promoting_at IS NULL OR state NOT IN ('planned', 'staged', 'verified', 'aborting', 'aborted')),
  CHECK (live_at IS NOT NULL OR state NOT IN ('live', 'retiring', 'done')),
  CHECK (live_at IS NULL OR state NOT IN ('planned', 'staged', 'verified', 'promoting', 'aborting', 'aborted')),
  CHECK (ended_at IS NOT NULL OR state NOT IN ('done', 'superseded', 'aborted', 'rolled_back')),
  CHECK (ended_at IS NULL OR state NOT IN ('planned', 'staged', 'verified', 'promoting', 'live', 'retiring', 'aborting', 'rolling_back'))
);
CREATE UNIQUE INDEX rotations_in_flight ON rotations (policy) WHERE ended_at IS NULL;
CREATE INDEX rotations_by_policy ON rotations (policy, started_at);
CREATE INDEX rotations_by_start ON rotations (started_at);

CREATE TABLE attempts (
  id               TEXT PRIMARY KEY,
  rotation         TEXT NOT NULL, -- '' for the key of a rehearsal, which belongs to none
  policy           TEXT NOT NULL,
  team             TEXT NOT NULL,
  name             TEXT NOT NULL UNIQUE CHECK (name <> ''),
  state            TEXT NOT NULL CHECK (state IN ('intended', 'created', 'in_doubt', 'lost', 'settled')),
  key_id           TEXT NOT NULL,
  fingerprint      TEXT NOT NULL,
  created_at       BIGINT,
  quarantine_until BIGINT,
  sweep_at         BIGINT,
  settled_at       BIGINT,
  error            TEXT NOT NULL,
  CHECK (state NOT IN ('created', 'lost') OR key_id <> '')
);
CREATE INDEX attempts_open ON attempts (policy) WHERE state <> 'settled';
CREATE INDEX attempts_by_rotation ON attempts (rotation);
CREATE INDEX attempts_by_team ON attempts (team);

CREATE TABLE keys (
  id              TEXT PRIMARY KEY CHECK (id <> ''),
  policy          TEXT NOT NULL,
  team            TEXT NOT NULL,
  name            TEXT NOT NULL,
  fingerprint     TEXT NOT NULL,
  origin          TEXT NOT NULL CHECK (origin IN ('created', 'adopted')),
  attempt         TEXT NOT NULL,
  use             TEXT NOT NULL CHECK (use IN ('successor', 'current', 'predecessor', 'rejected')),
  created_at      BIGINT,
  expires_at      BIGINT,
  disable_sent_at BIGINT,
  disabled_at     BIGINT,
  delete_sent_at  BIGINT,
  deleted_at      BIGINT,
  health          TEXT NOT NULL,
  health_at       BIGINT,
  bad_answers     BIGINT NOT NULL
);
CREATE INDEX keys_of_policy ON keys (policy) WHERE deleted_at IS NULL;
CREATE INDEX keys_by_team ON keys (team);

-- A place that two policies used has two rows: what the earlier one saw there still counts until it reads otherwise.
CREATE TABLE targets (
  policy       TEXT NOT NULL,
  store        TEXT NOT NULL,
  path         TEXT NOT NULL,
  field        TEXT NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('', 'empty', 'ok', 'drift', 'foreign', 'unreadable')),
  key_id       TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  replaceable  TEXT NOT NULL,
  next_key_id  TEXT NOT NULL,
  prev_key_id  TEXT NOT NULL,
  prev_print   TEXT NOT NULL,
  decision     TEXT NOT NULL CHECK (decision IN ('', 'overwrite', 'leave', 'drop')),
  decided_for  TEXT NOT NULL,
  contact_at   BIGINT,
  seen_at      BIGINT,
  removed_at   BIGINT,
  error        TEXT NOT NULL,
  PRIMARY KEY (policy, store, path, field)
);
CREATE INDEX targets_by_key ON targets (key_id);
CREATE INDEX targets_by_fingerprint ON targets (fingerprint);
CREATE INDEX targets_by_next_key ON targets (next_key_id);

CREATE TABLE orders (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  policy          TEXT NOT NULL,
  kind            TEXT NOT NULL CHECK (kind IN ('rotate', 'abort', 'rollback', 'revive', 'resolve', 'propagation', 'rehearse')),
  trigger         TEXT NOT NULL,
  supersede       BIGINT NOT NULL,
  target_store    TEXT NOT NULL,
  target_path     TEXT NOT NULL,
  target_field    TEXT NOT NULL,
  decision        TEXT NOT NULL,
  why             TEXT NOT NULL,
  said_by         TEXT NOT NULL,
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
  at      BIGINT NOT NULL,
  until   BIGINT
);

CREATE TABLE events (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  at       BIGINT,
  policy   TEXT NOT NULL,
  rotation TEXT NOT NULL,
  kind     TEXT NOT NULL CHECK (kind <> ''),
  data     TEXT NOT NULL                     -- a JSON object of facts by name, or ''
);

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
