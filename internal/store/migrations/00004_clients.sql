-- +goose Up
-- What clients leave behind before anybody has logged in. These rows live for
-- minutes and belong to clients that may not be stored (those whose client_id is a
-- document), so they refer to the pool alone: without its client, none is of use.

CREATE TABLE pushed_requests (
  hash       TEXT PRIMARY KEY,
  id         TEXT NOT NULL,
  pool       TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  client_id  TEXT NOT NULL,
  parameters TEXT NOT NULL,
  created    BIGINT NOT NULL,
  expires    BIGINT NOT NULL,
  opened     BIGINT NOT NULL
);
CREATE UNIQUE INDEX pushed_requests_id ON pushed_requests (pool, id);
CREATE INDEX pushed_requests_expires ON pushed_requests (expires);

CREATE TABLE client_assertions (
  pool      TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  client_id TEXT NOT NULL,
  hash      TEXT NOT NULL,
  expires   BIGINT NOT NULL,
  PRIMARY KEY (pool, client_id, hash)
);
CREATE INDEX client_assertions_expires ON client_assertions (expires);

CREATE TABLE initial_tokens (
  hash    TEXT PRIMARY KEY,
  id      TEXT NOT NULL,
  pool    TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  note    TEXT NOT NULL,
  uses    BIGINT NOT NULL,
  created BIGINT NOT NULL,
  expires BIGINT NOT NULL
);
CREATE UNIQUE INDEX initial_tokens_id ON initial_tokens (pool, id);

-- +goose Down
DROP TABLE initial_tokens;
DROP TABLE client_assertions;
DROP TABLE pushed_requests;
