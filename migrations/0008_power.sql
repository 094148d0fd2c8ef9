CREATE TABLE cpu_credits (
  server_id TEXT NOT NULL PRIMARY KEY,
  credits DOUBLE PRECISION NOT NULL,
  is_held BIGINT NOT NULL,
  run TEXT NOT NULL,
  nanos BIGINT NOT NULL,
  measured_at BIGINT NOT NULL
);
CREATE TABLE metric_samples (
  server_id TEXT NOT NULL,
  metric TEXT NOT NULL,
  at BIGINT NOT NULL,
  value DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (server_id, metric, at)
);
CREATE INDEX metric_samples_at ON metric_samples (at);
CREATE TABLE start_notices (
  server_id TEXT NOT NULL PRIMARY KEY,
  stopped_at BIGINT NOT NULL
);
