CREATE TABLE pooler_routes (
  server_id TEXT NOT NULL PRIMARY KEY,
  target TEXT,
  epoch BIGINT NOT NULL,
  connections_max BIGINT NOT NULL
);
