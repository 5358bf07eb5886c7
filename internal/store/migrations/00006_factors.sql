-- +goose Up
-- Second factors, and logins that are under way: password right, the rest missing.

CREATE TABLE factors (
  pool          TEXT NOT NULL,
  id            TEXT NOT NULL,
  user_id       TEXT NOT NULL,
  kind          TEXT NOT NULL,
  name          TEXT NOT NULL,
  sealed_seed   BYTEA NOT NULL,
  credential_id TEXT NOT NULL,
  credential    TEXT NOT NULL,
  counter       BIGINT NOT NULL,
  created       BIGINT NOT NULL,
  last_used     BIGINT NOT NULL,
  PRIMARY KEY (pool, id),
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE
);
CREATE INDEX factors_user ON factors (pool, user_id);
CREATE UNIQUE INDEX factors_credential ON factors (pool, credential_id) WHERE credential_id <> '';
CREATE UNIQUE INDEX factors_app ON factors (pool, user_id) WHERE kind = 'totp';

CREATE TABLE recovery_codes (
  pool    TEXT NOT NULL,
  user_id TEXT NOT NULL,
  hash    TEXT NOT NULL,
  used    BIGINT NOT NULL,
  PRIMARY KEY (pool, user_id, hash),
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE
);

-- user_id is null while nobody is known yet: a passkey without a user name.
CREATE TABLE login_attempts (
  token_hash TEXT PRIMARY KEY,
  id         TEXT NOT NULL,
  pool       TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  user_id    TEXT,
  methods    TEXT NOT NULL,
  challenge  BYTEA NOT NULL,
  tries      BIGINT NOT NULL,
  created    BIGINT NOT NULL,
  expires    BIGINT NOT NULL,
  version    BIGINT NOT NULL,
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX login_attempts_id ON login_attempts (pool, id);
CREATE INDEX login_attempts_user ON login_attempts (pool, user_id);
CREATE INDEX login_attempts_expires ON login_attempts (expires);

-- +goose Down
DROP TABLE login_attempts;
DROP TABLE recovery_codes;
DROP TABLE factors;
