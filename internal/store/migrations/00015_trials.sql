-- +goose Up
CREATE TABLE trials (
  id           TEXT PRIMARY KEY,
  pool         TEXT NOT NULL,
  provider     TEXT NOT NULL,
  provider_id  TEXT NOT NULL,
  state        TEXT NOT NULL,
  results      TEXT NOT NULL,
  link_hash    TEXT NOT NULL,
  state_hash   TEXT NOT NULL,
  browser_hash TEXT NOT NULL,
  sealed       BYTEA NOT NULL,
  version      BIGINT NOT NULL,
  created      BIGINT NOT NULL,
  expires      BIGINT NOT NULL,
  FOREIGN KEY (pool, provider) REFERENCES providers (pool, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX trials_link ON trials (link_hash);
CREATE UNIQUE INDEX trials_state ON trials (state_hash) WHERE state_hash <> '';
CREATE INDEX trials_provider ON trials (pool, provider);
CREATE INDEX trials_expires ON trials (expires);

-- +goose Down
DROP TABLE trials;
