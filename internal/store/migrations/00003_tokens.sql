-- +goose Up
-- Families of tokens, and the refresh tokens that each of them remembers.

ALTER TABLE codes ADD COLUMN methods TEXT NOT NULL DEFAULT 'null';

CREATE TABLE families (
  pool       TEXT NOT NULL,
  id         TEXT NOT NULL,
  client_id  TEXT NOT NULL,
  user_id    TEXT NOT NULL,
  session_id TEXT NOT NULL,
  offline    BOOLEAN NOT NULL,
  scopes     TEXT NOT NULL,
  resources  TEXT NOT NULL,
  auth_time  BIGINT NOT NULL,
  methods    TEXT NOT NULL,
  created    BIGINT NOT NULL,
  expires    BIGINT NOT NULL,
  idle       BIGINT NOT NULL,
  ended      BIGINT NOT NULL,
  ending     TEXT NOT NULL,
  head       BIGINT NOT NULL,
  advanced   BIGINT NOT NULL,
  PRIMARY KEY (pool, id),
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE,
  FOREIGN KEY (pool, client_id) REFERENCES clients (pool, id) ON DELETE CASCADE
);
CREATE INDEX families_user ON families (pool, user_id);
CREATE INDEX families_client ON families (pool, client_id);
CREATE INDEX families_expires ON families (expires);
CREATE INDEX families_ended ON families (ended) WHERE ended > 0;

CREATE TABLE refresh_tokens (
  hash       TEXT PRIMARY KEY,
  pool       TEXT NOT NULL,
  family     TEXT NOT NULL,
  generation BIGINT NOT NULL,
  FOREIGN KEY (pool, family) REFERENCES families (pool, id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (pool, family, generation);

-- +goose Down
DROP TABLE refresh_tokens;
DROP TABLE families;
ALTER TABLE codes DROP COLUMN methods;
