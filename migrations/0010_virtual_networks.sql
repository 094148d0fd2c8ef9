CREATE TABLE networks (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  address_range TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'Active',
  note TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX networks_name ON networks (name);
CREATE INDEX servers_network ON servers (network_id);
