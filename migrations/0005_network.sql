CREATE TABLE routes (
  server_id TEXT NOT NULL PRIMARY KEY,
  target TEXT,
  epoch BIGINT NOT NULL,
  state TEXT NOT NULL
);
CREATE TABLE firewall_rules (
  id TEXT NOT NULL PRIMARY KEY,
  server_id TEXT NOT NULL,
  name TEXT NOT NULL,
  range_start TEXT NOT NULL,
  range_end TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX firewall_rules_name ON firewall_rules (server_id, name);
CREATE TABLE route_generation (
  id BIGINT NOT NULL PRIMARY KEY,
  generation BIGINT NOT NULL
);
INSERT INTO route_generation (id, generation) VALUES (1, 1);
CREATE TABLE gateways (
  id TEXT NOT NULL PRIMARY KEY,
  seen_at BIGINT NOT NULL,
  generation BIGINT NOT NULL,
  notes TEXT NOT NULL
);
