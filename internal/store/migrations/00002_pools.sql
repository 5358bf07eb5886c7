-- +goose Up
-- What a pool, a user and a client have beyond the first slice. Settings of pools
-- and clients are read and written whole: they are one JSON text each.

ALTER TABLE user_pools ADD COLUMN settings TEXT NOT NULL DEFAULT '{"algorithm":"ES256","keyLifetime":7776000000000000,"refreshGrace":10000000000,"password":{"minLength":8,"refuseBreached":true},"secondFactor":"optional"}';
ALTER TABLE user_pools ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

ALTER TABLE users ADD COLUMN former_passwords TEXT NOT NULL DEFAULT 'null';
ALTER TABLE users ADD COLUMN must_change BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN attributes TEXT NOT NULL DEFAULT 'null';
ALTER TABLE users ADD COLUMN group_names TEXT NOT NULL DEFAULT 'null';
ALTER TABLE users ADD COLUMN external_id TEXT NOT NULL DEFAULT '';

ALTER TABLE clients ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
UPDATE clients SET settings = '{"origin":"operator","authMethod":"client_secret","grants":["authorization_code","refresh_token"],"refreshLifetime":2592000000000000,"refreshIdle":604800000000000}' WHERE type = 'web';
UPDATE clients SET settings = '{"origin":"operator","authMethod":"none","grants":["authorization_code","refresh_token"],"refreshLifetime":2592000000000000,"refreshIdle":604800000000000}' WHERE type <> 'web';

ALTER TABLE sessions ADD COLUMN methods TEXT NOT NULL DEFAULT '["pwd"]';
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';

ALTER TABLE codes ADD COLUMN resources TEXT NOT NULL DEFAULT 'null';
ALTER TABLE codes ADD COLUMN session_id TEXT NOT NULL DEFAULT '';
ALTER TABLE codes ADD COLUMN family_id TEXT NOT NULL DEFAULT '';

CREATE TABLE user_groups (
  pool        TEXT NOT NULL REFERENCES user_pools (name) ON DELETE CASCADE,
  id          TEXT NOT NULL,
  name        TEXT NOT NULL,
  external_id TEXT NOT NULL,
  created     BIGINT NOT NULL,
  version     BIGINT NOT NULL,
  PRIMARY KEY (pool, id)
);
CREATE UNIQUE INDEX user_groups_name ON user_groups (pool, name);

CREATE TABLE group_members (
  pool     TEXT NOT NULL,
  group_id TEXT NOT NULL,
  user_id  TEXT NOT NULL,
  PRIMARY KEY (pool, group_id, user_id),
  FOREIGN KEY (pool, group_id) REFERENCES user_groups (pool, id) ON DELETE CASCADE,
  FOREIGN KEY (pool, user_id) REFERENCES users (pool, id) ON DELETE CASCADE
);
CREATE INDEX group_members_user ON group_members (pool, user_id);

-- +goose Down
DROP TABLE group_members;
DROP TABLE user_groups;
ALTER TABLE codes DROP COLUMN family_id;
ALTER TABLE codes DROP COLUMN session_id;
ALTER TABLE codes DROP COLUMN resources;
ALTER TABLE sessions DROP COLUMN agent;
ALTER TABLE sessions DROP COLUMN address;
ALTER TABLE sessions DROP COLUMN methods;
ALTER TABLE clients DROP COLUMN settings;
ALTER TABLE users DROP COLUMN external_id;
ALTER TABLE users DROP COLUMN group_names;
ALTER TABLE users DROP COLUMN attributes;
ALTER TABLE users DROP COLUMN must_change;
ALTER TABLE users DROP COLUMN former_passwords;
ALTER TABLE user_pools DROP COLUMN version;
ALTER TABLE user_pools DROP COLUMN settings;
