-- +goose Up
-- The runs of agents, for every replica to know which are still going on; bound is the hash of what the process that
-- runs made up, once it has said so.
CREATE TABLE launches (
  id       TEXT PRIMARY KEY,
  pool     TEXT NOT NULL,
  workload TEXT NOT NULL,
  owner    TEXT NOT NULL,
  bound    TEXT NOT NULL,
  until    BIGINT NOT NULL,
  created  BIGINT NOT NULL,
  FOREIGN KEY (pool, workload) REFERENCES workloads (pool, name) ON DELETE CASCADE
);
CREATE INDEX launches_workload ON launches (pool, workload);
CREATE INDEX launches_owner ON launches (owner);
CREATE INDEX launches_until ON launches (until);

-- +goose Down
DROP TABLE launches;
