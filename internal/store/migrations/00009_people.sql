-- +goose Up
-- Users and groups as provisioning systems look for them, and what those systems call with.

CREATE INDEX users_by_email ON users (pool, lower(email));
CREATE INDEX users_by_display_name ON users (pool, display_name);
CREATE INDEX users_by_external_id ON users (pool, external_id);
CREATE INDEX user_groups_by_external_id ON user_groups (pool, external_id);

CREATE TABLE provisioning_tokens (
  pool    TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  id      TEXT NOT NULL,
  name    TEXT NOT NULL,
  hash    TEXT NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (pool, id)
);
CREATE UNIQUE INDEX provisioning_tokens_name ON provisioning_tokens (pool, name);
CREATE UNIQUE INDEX provisioning_tokens_hash ON provisioning_tokens (hash);

-- +goose Down
DROP TABLE provisioning_tokens;
DROP INDEX user_groups_by_external_id;
DROP INDEX users_by_external_id;
DROP INDEX users_by_display_name;
DROP INDEX users_by_email;
