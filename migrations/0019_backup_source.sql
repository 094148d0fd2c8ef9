-- From which member's data files a backup was copied: "primary", "standby"; empty for one from before this was noted.
ALTER TABLE backups ADD COLUMN copied_from TEXT NOT NULL DEFAULT '';
