CREATE TABLE servers (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  region TEXT NOT NULL,
  zone TEXT NOT NULL,
  major TEXT NOT NULL,
  sku TEXT NOT NULL,
  tier TEXT NOT NULL,
  storage_gib BIGINT NOT NULL,
  admin_login TEXT NOT NULL,
  access TEXT NOT NULL,
  tags TEXT NOT NULL,
  settled TEXT NOT NULL,
  port BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT,
  version BIGINT NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX servers_name ON servers (name);
CREATE UNIQUE INDEX servers_port ON servers (port);
CREATE INDEX servers_region ON servers (region, name);
CREATE TABLE members (
  id TEXT NOT NULL PRIMARY KEY,
  server_id TEXT NOT NULL,
  host_id TEXT NOT NULL,
  generation BIGINT NOT NULL DEFAULT 1,
  image TEXT NOT NULL DEFAULT '',
  postgres_version TEXT NOT NULL DEFAULT ''
);
CREATE INDEX members_server ON members (server_id);
CREATE INDEX members_host ON members (host_id);
CREATE TABLE member_observations (
  member_id TEXT NOT NULL PRIMARY KEY,
  observed_at BIGINT NOT NULL,
  facts TEXT NOT NULL
);
CREATE TABLE server_secrets (
  server_id TEXT NOT NULL,
  name TEXT NOT NULL,
  sealed BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  PRIMARY KEY (server_id, name)
);
CREATE TABLE drafts (
  id TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  form TEXT NOT NULL,
  sealed_password BYTEA,
  updated_at BIGINT NOT NULL,
  operation_id TEXT
);
CREATE INDEX drafts_user ON drafts (user_id, updated_at);
