-- When the archive of a server was last compared with what its backups need, and what came of it; one row for each repository.
CREATE TABLE archive_checks (
  server_id TEXT NOT NULL,
  repository BIGINT NOT NULL,
  checked_at BIGINT NOT NULL,
  needed BIGINT NOT NULL,
  missing BIGINT NOT NULL,
  log_bytes BIGINT NOT NULL,
  PRIMARY KEY (server_id, repository)
);
-- Places in the log with a moment all of whose commits lie before them: by these a hole in the archive is told in times.
CREATE TABLE archive_moments (
  server_id TEXT NOT NULL,
  at BIGINT NOT NULL,
  timeline BIGINT NOT NULL,
  place TEXT NOT NULL,
  PRIMARY KEY (server_id, at)
);
