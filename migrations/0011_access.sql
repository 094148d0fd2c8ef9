ALTER TABLE resource_groups ADD COLUMN created_by TEXT NOT NULL DEFAULT 'pgflex';
ALTER TABLE resource_groups ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE operations ADD COLUMN group_id TEXT;
UPDATE operations SET group_id = COALESCE((SELECT s.group_id FROM servers s WHERE s.id = operations.server_id), '00000000-0000-7000-8000-000000000001');
CREATE INDEX operations_group ON operations (group_id, id);
ALTER TABLE activity ADD COLUMN group_id TEXT;
UPDATE activity SET group_id = COALESCE((SELECT s.group_id FROM servers s WHERE s.id = activity.server_id), '00000000-0000-7000-8000-000000000001') WHERE server_id IS NOT NULL;
CREATE INDEX activity_group ON activity (group_id, id);
CREATE TABLE role_assignments (
  user_id TEXT NOT NULL,
  group_id TEXT NOT NULL,
  role TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, group_id)
);
CREATE INDEX role_assignments_group ON role_assignments (group_id);
CREATE TABLE invite_assignments (
  invite_id TEXT NOT NULL PRIMARY KEY,
  group_id TEXT NOT NULL,
  role TEXT NOT NULL
);
CREATE TABLE locks (
  id TEXT NOT NULL PRIMARY KEY,
  scope TEXT NOT NULL,
  scope_id TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  note TEXT NOT NULL DEFAULT '',
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX locks_name ON locks (scope, scope_id, name);
