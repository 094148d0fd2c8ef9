-- The last backup of the portal's own store in each place: a host's id, or empty for the portal's own folder.
CREATE TABLE store_backups (
  place TEXT NOT NULL PRIMARY KEY,
  tried_at BIGINT NOT NULL,
  made_at BIGINT,
  bytes BIGINT,
  failure TEXT NOT NULL DEFAULT ''
);
