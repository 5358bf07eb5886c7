-- +goose Up
-- One text for SQLite and PostgreSQL: times are milliseconds since 1970 in
-- BIGINT (0: none), lists are JSON in TEXT, sealed and hashed values say so.

CREATE TABLE audit_head (
  id   BIGINT PRIMARY KEY,
  seq  BIGINT NOT NULL,
  hash TEXT NOT NULL
);
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

CREATE TABLE audit (
  seq      BIGINT PRIMARY KEY,
  action   TEXT NOT NULL,
  outcome  TEXT NOT NULL,
  provider TEXT NOT NULL,
  pool     TEXT NOT NULL,
  workload TEXT NOT NULL,
  subject  TEXT NOT NULL,
  leaf     BYTEA NOT NULL,
  hash     TEXT NOT NULL
);

CREATE TABLE data_keys (
  pool    TEXT NOT NULL,
  version BIGINT NOT NULL,
  wrapped BYTEA NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (pool, version)
);

CREATE TABLE signing_keys (
  owner      TEXT NOT NULL,
  generation BIGINT NOT NULL,
  id         TEXT NOT NULL,
  algorithm  TEXT NOT NULL,
  sealed     BYTEA NOT NULL,
  created    BIGINT NOT NULL,
  PRIMARY KEY (owner, generation)
);

CREATE TABLE operator_tokens (
  hash    TEXT PRIMARY KEY,
  name    TEXT NOT NULL,
  created BIGINT NOT NULL
);

CREATE TABLE user_pools (
  name         TEXT PRIMARY KEY,
  display_name TEXT NOT NULL,
  created      BIGINT NOT NULL
);

CREATE TABLE users (
  pool             TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  id               TEXT NOT NULL,
  login_name       TEXT NOT NULL,
  user_name        TEXT NOT NULL,
  display_name     TEXT NOT NULL,
  email            TEXT NOT NULL,
  email_verified   BOOLEAN NOT NULL,
  phone            TEXT NOT NULL,
  password_hash    TEXT NOT NULL,
  password_changed BIGINT NOT NULL,
  disabled         BOOLEAN NOT NULL,
  created          BIGINT NOT NULL,
  version          BIGINT NOT NULL,
  PRIMARY KEY (pool, id)
);
CREATE UNIQUE INDEX users_login_name ON users (pool, login_name);

CREATE TABLE clients (
  pool           TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  id             TEXT NOT NULL,
  name           TEXT NOT NULL,
  type           TEXT NOT NULL,
  secret_hash    TEXT NOT NULL,
  redirect_uris  TEXT NOT NULL,
  logout_uris    TEXT NOT NULL,
  scopes         TEXT NOT NULL,
  token_lifetime BIGINT NOT NULL,
  created        BIGINT NOT NULL,
  version        BIGINT NOT NULL,
  PRIMARY KEY (pool, id)
);
CREATE UNIQUE INDEX clients_name ON clients (pool, name);

CREATE TABLE sessions (
  token_hash TEXT PRIMARY KEY,
  id         TEXT NOT NULL,
  pool       TEXT NOT NULL,
  user_id    TEXT NOT NULL,
  auth_time  BIGINT NOT NULL,
  last_used  BIGINT NOT NULL,
  expires    BIGINT NOT NULL,
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX sessions_id ON sessions (pool, id);
CREATE INDEX sessions_user ON sessions (pool, user_id);
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE codes (
  hash         TEXT PRIMARY KEY,
  id           TEXT NOT NULL,
  pool         TEXT NOT NULL,
  client_id    TEXT NOT NULL,
  redirect_uri TEXT NOT NULL,
  challenge    TEXT NOT NULL,
  nonce        TEXT NOT NULL,
  scopes       TEXT NOT NULL,
  user_id      TEXT NOT NULL,
  auth_time    BIGINT NOT NULL,
  expires      BIGINT NOT NULL,
  redeemed     BIGINT NOT NULL,
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE,
  FOREIGN KEY (pool, client_id) REFERENCES clients (pool, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX codes_id ON codes (pool, id);
CREATE INDEX codes_user ON codes (pool, user_id);
CREATE INDEX codes_client ON codes (pool, client_id);
CREATE INDEX codes_expires ON codes (expires);

CREATE TABLE consents (
  pool      TEXT NOT NULL,
  user_id   TEXT NOT NULL,
  client_id TEXT NOT NULL,
  scopes    TEXT NOT NULL,
  granted   BIGINT NOT NULL,
  PRIMARY KEY (pool, user_id, client_id),
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE,
  FOREIGN KEY (pool, client_id) REFERENCES clients (pool, id) ON DELETE CASCADE
);
CREATE INDEX consents_client ON consents (pool, client_id);

CREATE TABLE workload_pools (
  name        TEXT PRIMARY KEY,
  description TEXT NOT NULL,
  created     BIGINT NOT NULL
);

CREATE TABLE workloads (
  pool        TEXT NOT NULL REFERENCES workload_pools (name) ON DELETE CASCADE,
  name        TEXT NOT NULL,
  description TEXT NOT NULL,
  created     BIGINT NOT NULL,
  PRIMARY KEY (pool, name)
);

CREATE TABLE providers (
  pool          TEXT NOT NULL REFERENCES workload_pools (name) ON DELETE CASCADE,
  name          TEXT NOT NULL,
  id            TEXT NOT NULL,
  type          TEXT NOT NULL,
  vendor        TEXT NOT NULL,
  flow          TEXT NOT NULL,
  client_id     TEXT NOT NULL,
  sealed_secret BYTEA NOT NULL,
  scopes        TEXT NOT NULL,
  endpoints     TEXT NOT NULL,
  version       BIGINT NOT NULL,
  created       BIGINT NOT NULL,
  updated       BIGINT NOT NULL,
  PRIMARY KEY (pool, name)
);

CREATE TABLE grants (
  id              TEXT PRIMARY KEY,
  pool            TEXT NOT NULL,
  provider        TEXT NOT NULL,
  issuer          TEXT NOT NULL,
  subject         TEXT NOT NULL,
  account_id      TEXT NOT NULL,
  account_name    TEXT NOT NULL,
  scopes          TEXT NOT NULL,
  state           TEXT NOT NULL,
  reason          TEXT NOT NULL,
  sealed          BYTEA NOT NULL,
  expires         BIGINT NOT NULL,
  refresh_expires BIGINT NOT NULL,
  version         BIGINT NOT NULL,
  lease_owner     TEXT NOT NULL,
  lease_until     BIGINT NOT NULL,
  created         BIGINT NOT NULL,
  updated         BIGINT NOT NULL,
  FOREIGN KEY (pool, provider) REFERENCES providers (pool, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX grants_owner ON grants (pool, provider, issuer, subject);

CREATE TABLE delegations (
  id       TEXT PRIMARY KEY,
  grant_id TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
  pool     TEXT NOT NULL,
  workload TEXT NOT NULL,
  scopes   TEXT NOT NULL,
  created  BIGINT NOT NULL,
  updated  BIGINT NOT NULL,
  FOREIGN KEY (pool, workload) REFERENCES workloads (pool, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX delegations_owner ON delegations (grant_id, pool, workload);
CREATE INDEX delegations_workload ON delegations (pool, workload);

CREATE TABLE authorizations (
  id           TEXT PRIMARY KEY,
  kind         TEXT NOT NULL,
  pool         TEXT NOT NULL,
  provider     TEXT NOT NULL,
  workload     TEXT NOT NULL,
  issuer       TEXT NOT NULL,
  subject      TEXT NOT NULL,
  scopes       TEXT NOT NULL,
  state        TEXT NOT NULL,
  reason       TEXT NOT NULL,
  message      TEXT NOT NULL,
  link_hash    TEXT NOT NULL,
  state_hash   TEXT NOT NULL,
  browser_hash TEXT NOT NULL,
  sealed       BYTEA NOT NULL,
  version      BIGINT NOT NULL,
  created      BIGINT NOT NULL,
  expires      BIGINT NOT NULL,
  updated      BIGINT NOT NULL,
  FOREIGN KEY (pool, provider) REFERENCES providers (pool, name) ON DELETE CASCADE,
  FOREIGN KEY (pool, workload) REFERENCES workloads (pool, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX authorizations_link ON authorizations (link_hash);
CREATE UNIQUE INDEX authorizations_state ON authorizations (state_hash) WHERE state_hash <> '';
CREATE INDEX authorizations_pending ON authorizations (pool, provider, workload, issuer, subject, state);

CREATE TABLE agents (
  pool       TEXT NOT NULL REFERENCES workload_pools (name) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  definition TEXT NOT NULL,
  directory  TEXT NOT NULL,
  version    BIGINT NOT NULL,
  desired    TEXT NOT NULL,
  created    BIGINT NOT NULL,
  updated    BIGINT NOT NULL,
  PRIMARY KEY (pool, name)
);

-- +goose Down
DROP TABLE agents;
DROP TABLE authorizations;
DROP TABLE delegations;
DROP TABLE grants;
DROP TABLE providers;
DROP TABLE workloads;
DROP TABLE workload_pools;
DROP TABLE consents;
DROP TABLE codes;
DROP TABLE sessions;
DROP TABLE clients;
DROP TABLE users;
DROP TABLE user_pools;
DROP TABLE operator_tokens;
DROP TABLE signing_keys;
DROP TABLE data_keys;
DROP TABLE audit;
DROP TABLE audit_head;
