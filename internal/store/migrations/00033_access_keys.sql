-- +goose Up
-- With what workloads sign requests, sealed; and the signatures that are good once and were used. They go with the
-- workload.
CREATE TABLE access_keys (
  id       TEXT PRIMARY KEY,
  pool     TEXT NOT NULL,
  workload TEXT NOT NULL,
  name     TEXT NOT NULL,
  sealed   BYTEA NOT NULL,
  created  BIGINT NOT NULL,
  expires  BIGINT NOT NULL,
  used     BIGINT NOT NULL,
  FOREIGN KEY (pool, workload) REFERENCES workloads (pool, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX access_keys_name ON access_keys (pool, workload, name);
CREATE TABLE access_key_uses (
  access_key TEXT NOT NULL REFERENCES access_keys (id) ON DELETE CASCADE,
  signature  TEXT NOT NULL,
  until      BIGINT NOT NULL,
  PRIMARY KEY (access_key, signature)
);
CREATE INDEX access_key_uses_until ON access_key_uses (access_key, until);

-- +goose Down
DROP TABLE access_key_uses;
DROP TABLE access_keys;
