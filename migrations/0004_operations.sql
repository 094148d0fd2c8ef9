CREATE TABLE operations (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  lane TEXT NOT NULL,
  server_id TEXT NOT NULL,
  server_name TEXT NOT NULL,
  status TEXT NOT NULL,
  is_active BIGINT NOT NULL,
  is_undoing BIGINT NOT NULL DEFAULT 0,
  input TEXT NOT NULL,
  cursor BIGINT NOT NULL DEFAULT 0,
  attempt BIGINT NOT NULL DEFAULT 0,
  run_at BIGINT NOT NULL,
  lease_owner TEXT,
  lease_until BIGINT NOT NULL DEFAULT 0,
  fence BIGINT NOT NULL DEFAULT 0,
  error TEXT,
  advice TEXT,
  failed_step TEXT,
  cancel_requested BIGINT NOT NULL DEFAULT 0,
  requested_by TEXT NOT NULL,
  requested_from TEXT NOT NULL,
  idempotency_key TEXT,
  retry_of TEXT,
  code_version TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  ended_at BIGINT,
  deadline_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX operations_one_per_lane ON operations (server_id, lane) WHERE is_active = 1;
CREATE UNIQUE INDEX operations_idempotency ON operations (idempotency_key);
CREATE INDEX operations_due ON operations (run_at) WHERE is_active = 1;
CREATE INDEX operations_server ON operations (server_id, id);
CREATE INDEX operations_status ON operations (status, id);
CREATE INDEX operations_created ON operations (created_at);
CREATE TABLE operation_steps (
  operation_id TEXT NOT NULL,
  ordinal BIGINT NOT NULL,
  name TEXT NOT NULL,
  title TEXT NOT NULL,
  status TEXT NOT NULL,
  output TEXT NOT NULL DEFAULT 'null',
  note TEXT,
  attempts BIGINT NOT NULL DEFAULT 0,
  started_at BIGINT,
  ended_at BIGINT,
  PRIMARY KEY (operation_id, ordinal)
);
CREATE TABLE operation_log (
  operation_id TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  step TEXT NOT NULL,
  line TEXT NOT NULL,
  PRIMARY KEY (operation_id, seq)
);
