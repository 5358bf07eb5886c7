-- +goose Up
ALTER TABLE signing_keys ADD COLUMN signs_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN published_until BIGINT NOT NULL DEFAULT 0;

-- user_id is NULL until somebody has decided.
CREATE TABLE devices (
  hash      TEXT PRIMARY KEY,
  user_hash TEXT NOT NULL,
  id        TEXT NOT NULL,
  pool      TEXT NOT NULL,
  client_id TEXT NOT NULL,
  scopes    TEXT NOT NULL,
  resources TEXT NOT NULL,
  address   TEXT NOT NULL,
  agent     TEXT NOT NULL,
  created   BIGINT NOT NULL,
  expires   BIGINT NOT NULL,
  state     TEXT NOT NULL,
  user_id   TEXT,
  auth_time BIGINT NOT NULL,
  methods   TEXT NOT NULL,
  FOREIGN KEY (pool, client_id) REFERENCES clients (pool, id) ON DELETE CASCADE,
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX devices_id ON devices (pool, id);
CREATE UNIQUE INDEX devices_user_code ON devices (pool, user_hash);
CREATE INDEX devices_client ON devices (pool, client_id);
CREATE INDEX devices_user ON devices (pool, user_id);
CREATE INDEX devices_expires ON devices (expires);

-- The user may be gone: that he was deleted is a reason to tell.
CREATE TABLE logout_notices (
  id         TEXT PRIMARY KEY,
  pool       TEXT NOT NULL,
  client_id  TEXT NOT NULL,
  user_id    TEXT NOT NULL,
  session_id TEXT NOT NULL,
  created    BIGINT NOT NULL,
  due        BIGINT NOT NULL,
  attempts   BIGINT NOT NULL,
  FOREIGN KEY (pool, client_id) REFERENCES clients (pool, id) ON DELETE CASCADE
);
CREATE INDEX logout_notices_due ON logout_notices (due);
CREATE INDEX logout_notices_client ON logout_notices (pool, client_id);

-- +goose Down
DROP TABLE logout_notices;
DROP TABLE devices;
ALTER TABLE signing_keys DROP COLUMN published_until;
ALTER TABLE signing_keys DROP COLUMN signs_from;
