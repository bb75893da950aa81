-- compatible with schema 1

-- Who acts for the policies, for people to see.
CREATE TABLE replicas (
  name       TEXT PRIMARY KEY,              -- the owner of its claims
  host       TEXT NOT NULL,
  version    TEXT NOT NULL,
  started_at BIGINT,
  seen_at    BIGINT NOT NULL
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

-- When the claim in hand was made; NULL: not claimed, or by a program of schema 1.
ALTER TABLE policies ADD COLUMN claimed_at BIGINT;

-- Policies at rest wait for their watch alone, and are claimed apart from the others.
CREATE INDEX policies_resting ON policies (next_run_at) WHERE rotation_id = '' AND next_run_at = watch_at;
CREATE INDEX policies_moving ON policies (next_run_at) WHERE rotation_id <> '' OR next_run_at IS DISTINCT FROM watch_at;

-- One row: the history that the database was last seen to follow. SQLite needs none.
CREATE TABLE lineage (
  timeline     TEXT NOT NULL,
  recovered_at BIGINT NOT NULL              -- when commits were last found to be lost, on the database's clock
);
