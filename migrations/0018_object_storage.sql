-- Where in the object storage a server's part lies; empty for a repository that is on a host. What the configuration names
-- may change, and a backup is where it was written.
ALTER TABLE backup_repositories ADD COLUMN location TEXT NOT NULL DEFAULT '';
