-- What is asked of the backups of a server, and how its archive was last seen to stand; one row for each server.
CREATE TABLE backup_settings (
  server_id TEXT NOT NULL PRIMARY KEY,
  retention_days BIGINT NOT NULL,
  redundancy TEXT NOT NULL,
  archiving_since BIGINT,
  archived_until BIGINT,
  looked_at BIGINT,
  failing_since BIGINT,
  failure TEXT NOT NULL DEFAULT '',
  version BIGINT NOT NULL DEFAULT 1
);
-- Where the backups of a server lie: number 1 is written first and read first. The host has the repository, the stanza
-- is the server's own part of it. Rows outlive the server until its backups are erased.
CREATE TABLE backup_repositories (
  server_id TEXT NOT NULL,
  number BIGINT NOT NULL,
  host_id TEXT NOT NULL,
  stanza TEXT NOT NULL,
  major TEXT NOT NULL,
  state TEXT NOT NULL,
  since BIGINT NOT NULL,
  looked_at BIGINT,
  bytes BIGINT,
  PRIMARY KEY (server_id, number)
);
CREATE INDEX backup_repositories_host ON backup_repositories (host_id);
-- Backups that the repository was last seen to hold. A row is written when the backup is whole, never before.
CREATE TABLE backups (
  server_id TEXT NOT NULL,
  repository BIGINT NOT NULL,
  label TEXT NOT NULL,
  type TEXT NOT NULL,
  name TEXT NOT NULL DEFAULT '',
  started_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  stored_bytes BIGINT NOT NULL,
  wal_start TEXT NOT NULL,
  wal_stop TEXT NOT NULL,
  lsn_start TEXT NOT NULL,
  lsn_stop TEXT NOT NULL,
  based_on TEXT NOT NULL DEFAULT '',
  verified_at BIGINT,
  failure TEXT NOT NULL DEFAULT '',
  operation_id TEXT,
  PRIMARY KEY (server_id, repository, label)
);
-- Stretches of time to which nothing can be restored, because a piece of the log is missing from the repository.
CREATE TABLE backup_gaps (
  server_id TEXT NOT NULL,
  repository BIGINT NOT NULL,
  began_at BIGINT NOT NULL,
  ended_at BIGINT,
  reason TEXT NOT NULL,
  PRIMARY KEY (server_id, repository, began_at)
);
-- Where a server came from that was restored, and what its recovery really reached.
CREATE TABLE restores (
  server_id TEXT NOT NULL PRIMARY KEY,
  source_id TEXT NOT NULL,
  source_name TEXT NOT NULL,
  target TEXT NOT NULL,
  repository BIGINT NOT NULL,
  operation_id TEXT,
  reached_at BIGINT,
  reached_lsn TEXT,
  timeline BIGINT,
  ended_at BIGINT
);
-- Every proof that a backup can be restored, and every one that failed.
CREATE TABLE restore_drills (
  operation_id TEXT NOT NULL PRIMARY KEY,
  server_id TEXT NOT NULL,
  repository BIGINT NOT NULL,
  label TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT,
  restore_micros BIGINT,
  replay_micros BIGINT,
  bytes BIGINT,
  databases BIGINT,
  tables BIGINT,
  table_rows BIGINT,
  checked_relations BIGINT,
  last_commit_at BIGINT,
  data_age_micros BIGINT,
  outcome TEXT NOT NULL
);
CREATE INDEX restore_drills_server ON restore_drills (server_id, started_at);
-- Servers that were deleted and whose backups are kept until a time.
CREATE TABLE deleted_servers (
  server_id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  group_id TEXT NOT NULL,
  spec TEXT NOT NULL,
  configuration TEXT NOT NULL,
  archived_until BIGINT,
  deleted_at BIGINT NOT NULL,
  deleted_by TEXT NOT NULL,
  erase_after BIGINT NOT NULL,
  erased_at BIGINT
);
CREATE INDEX deleted_servers_due ON deleted_servers (erase_after);
