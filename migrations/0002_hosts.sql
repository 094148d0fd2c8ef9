CREATE TABLE hosts (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  places TEXT NOT NULL,
  is_configured BIGINT NOT NULL DEFAULT 1,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX hosts_name ON hosts (name);
CREATE TABLE host_observations (
  host_id TEXT NOT NULL PRIMARY KEY,
  observed_at BIGINT NOT NULL,
  facts_at BIGINT,
  facts TEXT,
  error TEXT,
  orphans TEXT NOT NULL DEFAULT '[]'
);
