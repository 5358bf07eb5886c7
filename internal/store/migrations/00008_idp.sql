-- +goose Up
-- External identity providers, who is who there, and logins that are under way there.

CREATE TABLE identity_providers (
  pool          TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  name          TEXT NOT NULL,
  id            TEXT NOT NULL,
  title         TEXT NOT NULL,
  type          TEXT NOT NULL,
  client_id     TEXT NOT NULL,
  sealed_secret BYTEA NOT NULL,
  issuer        TEXT NOT NULL,
  endpoints     TEXT NOT NULL,
  scopes        TEXT NOT NULL,
  mapping       TEXT NOT NULL,
  link_by_email BOOLEAN NOT NULL,
  create_users  BOOLEAN NOT NULL,
  enabled       BOOLEAN NOT NULL,
  created       BIGINT NOT NULL,
  updated       BIGINT NOT NULL,
  version       BIGINT NOT NULL,
  PRIMARY KEY (pool, name)
);
CREATE UNIQUE INDEX identity_providers_id ON identity_providers (pool, id);

CREATE TABLE identity_links (
  pool        TEXT NOT NULL,
  provider_id TEXT NOT NULL,
  issuer      TEXT NOT NULL,
  subject     TEXT NOT NULL,
  user_id     TEXT NOT NULL,
  created     BIGINT NOT NULL,
  PRIMARY KEY (pool, provider_id, issuer, subject),
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE,
  FOREIGN KEY (pool, provider_id) REFERENCES identity_providers (pool, id) ON DELETE CASCADE
);
CREATE INDEX identity_links_user ON identity_links (pool, user_id);

CREATE TABLE identity_logins (
  state_hash      TEXT PRIMARY KEY,
  id              TEXT NOT NULL,
  pool            TEXT NOT NULL,
  provider_id     TEXT NOT NULL,
  browser_hash    TEXT NOT NULL,
  nonce           TEXT NOT NULL,
  sealed_verifier BYTEA NOT NULL,
  return_to       TEXT NOT NULL,
  expires         BIGINT NOT NULL,
  FOREIGN KEY (pool, provider_id) REFERENCES identity_providers (pool, id) ON DELETE CASCADE
);
CREATE INDEX identity_logins_provider ON identity_logins (pool, provider_id);
CREATE INDEX identity_logins_expires ON identity_logins (expires);

-- An address is looked for without regard to case, and only where it is verified.
CREATE INDEX users_verified_email ON users (pool, lower(email)) WHERE email_verified;

-- +goose Down
DROP INDEX users_verified_email;
DROP TABLE identity_logins;
DROP TABLE identity_links;
DROP TABLE identity_providers;
