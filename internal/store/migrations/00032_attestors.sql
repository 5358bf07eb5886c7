-- +goose Up
-- Who vouches for workloads that Deputy did not launch; sealed is the token with which an API server is asked.
CREATE TABLE attestors (
  id       TEXT PRIMARY KEY,
  pool     TEXT NOT NULL REFERENCES workload_pools (name) ON DELETE CASCADE,
  name     TEXT NOT NULL,
  issuer   TEXT NOT NULL,
  settings TEXT NOT NULL,
  sealed   BYTEA NOT NULL,
  version  BIGINT NOT NULL,
  created  BIGINT NOT NULL,
  updated  BIGINT NOT NULL
);
CREATE UNIQUE INDEX attestors_name ON attestors (pool, name);
CREATE INDEX attestors_issuer ON attestors (issuer);

-- +goose Down
DROP TABLE attestors;
