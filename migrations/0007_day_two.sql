ALTER TABLE servers ADD COLUMN configuration TEXT NOT NULL DEFAULT '{}';
ALTER TABLE servers ADD COLUMN group_id TEXT NOT NULL DEFAULT '00000000-0000-7000-8000-000000000001';
ALTER TABLE servers ADD COLUMN network_id TEXT;
ALTER TABLE servers ADD COLUMN stopped_at BIGINT;
ALTER TABLE servers ADD COLUMN pooler_port BIGINT;
CREATE UNIQUE INDEX servers_pooler_port ON servers (pooler_port);
CREATE INDEX servers_group ON servers (group_id, name);
ALTER TABLE members ADD COLUMN disk TEXT NOT NULL DEFAULT 'null';
CREATE TABLE resource_groups (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX resource_groups_name ON resource_groups (name);
INSERT INTO resource_groups (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'default');
CREATE TABLE server_observations (
  server_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  observed_at BIGINT NOT NULL,
  facts TEXT NOT NULL,
  PRIMARY KEY (server_id, kind)
);
CREATE TABLE meters (
  id TEXT NOT NULL PRIMARY KEY,
  server_id TEXT NOT NULL,
  server_name TEXT NOT NULL,
  group_id TEXT NOT NULL,
  meter TEXT NOT NULL,
  quantity TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT
);
CREATE INDEX meters_server ON meters (server_id, meter, started_at);
CREATE INDEX meters_time ON meters (started_at, ended_at);
CREATE UNIQUE INDEX meters_one_open ON meters (server_id, meter) WHERE ended_at IS NULL;
