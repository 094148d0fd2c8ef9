CREATE TABLE activity (
  id TEXT NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  user_id TEXT,
  actor_name TEXT NOT NULL,
  address TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  server_id TEXT,
  operation_id TEXT,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL,
  ended_at BIGINT
);
CREATE INDEX activity_at ON activity (at);
CREATE INDEX activity_server ON activity (server_id, id);
CREATE INDEX activity_operation ON activity (operation_id);
