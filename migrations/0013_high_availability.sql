-- High availability: one row for each server that has it; its members have roles by that row.
CREATE TABLE high_availability (
  server_id TEXT NOT NULL PRIMARY KEY,
  mode TEXT NOT NULL,
  durability TEXT NOT NULL,
  standby_zone TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  first_epoch BIGINT NOT NULL DEFAULT 1,
  primary_member TEXT,
  standby_member TEXT,
  state TEXT NOT NULL,
  is_promotable BIGINT NOT NULL,
  armed_lsn TEXT,
  timeline BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1
);
-- What was seen, decided and done, for people: written in the transaction that does it.
CREATE TABLE ha_events (
  id TEXT NOT NULL PRIMARY KEY,
  server_id TEXT NOT NULL,
  at BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  kind TEXT NOT NULL,
  detail TEXT NOT NULL,
  operation_id TEXT
);
CREATE INDEX ha_events_server ON ha_events (server_id, id);
-- Every change of primary, once for each epoch.
CREATE TABLE promotions (
  id TEXT NOT NULL PRIMARY KEY,
  server_id TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  cause TEXT NOT NULL,
  reason TEXT NOT NULL,
  from_member TEXT NOT NULL,
  to_member TEXT NOT NULL,
  parent_timeline BIGINT NOT NULL,
  timeline BIGINT,
  stopped_lsn TEXT,
  received_lsn TEXT,
  fork_lsn TEXT,
  operation_id TEXT,
  seen_at BIGINT NOT NULL,
  decided_at BIGINT NOT NULL,
  opened_at BIGINT
);
CREATE UNIQUE INDEX promotions_epoch ON promotions (server_id, epoch);
-- Each is measured by one process, its owner, which is known to be alive until `owned_until`.
CREATE TABLE ha_drills (
  id TEXT NOT NULL PRIMARY KEY,
  server_id TEXT NOT NULL,
  operation_id TEXT,
  started_at BIGINT NOT NULL,
  ended_at BIGINT,
  writes BIGINT NOT NULL DEFAULT 0,
  lost BIGINT NOT NULL DEFAULT 0,
  gap_micros BIGINT,
  outcome TEXT NOT NULL,
  owner TEXT,
  owned_until BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX ha_drills_server ON ha_drills (server_id, id);
ALTER TABLE members ADD COLUMN zone TEXT NOT NULL DEFAULT '';
ALTER TABLE members ADD COLUMN port BIGINT;
CREATE UNIQUE INDEX members_port ON members (host_id, port);
