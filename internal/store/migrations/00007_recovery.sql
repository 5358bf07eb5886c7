-- +goose Up
-- Letters that wait to be sent, and the proofs that they carry.

CREATE INDEX users_email ON users (pool, lower(email));

CREATE TABLE proofs (
  pool    TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  purpose TEXT NOT NULL,
  subject TEXT NOT NULL, -- the user's id, or the address where there is no user
  hash    TEXT NOT NULL,
  id      TEXT NOT NULL,
  user_id TEXT,
  email   TEXT NOT NULL,
  created BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  PRIMARY KEY (pool, purpose, subject),
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX proofs_hash ON proofs (hash);
CREATE INDEX proofs_user ON proofs (pool, user_id);
CREATE INDEX proofs_expires ON proofs (expires);

CREATE TABLE letters (
  id       TEXT PRIMARY KEY,
  pool     TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  kind     TEXT NOT NULL,
  email    TEXT NOT NULL,
  user_id  TEXT,
  language TEXT NOT NULL,
  state    TEXT NOT NULL,
  tries    BIGINT NOT NULL,
  owner    TEXT NOT NULL,
  due      BIGINT NOT NULL,
  created  BIGINT NOT NULL,
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE
);
CREATE INDEX letters_due ON letters (due) WHERE state = 'waiting';
CREATE INDEX letters_email ON letters (pool, lower(email), created);
CREATE INDEX letters_user ON letters (pool, user_id);
CREATE INDEX letters_created ON letters (created);

-- +goose Down
DROP TABLE letters;
DROP TABLE proofs;
DROP INDEX users_email;
