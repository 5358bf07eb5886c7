-- +goose Up
-- From when on a workload's tokens hold, and what else an operator says about it; and from when on those for a user
-- do, of whatever issuer, if somebody has ended them.
ALTER TABLE workloads ADD COLUMN tokens_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE workloads ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE workloads ADD COLUMN trust TEXT NOT NULL DEFAULT '{}';
CREATE TABLE user_tokens (
  issuer  TEXT NOT NULL,
  subject TEXT NOT NULL,
  since   BIGINT NOT NULL,
  PRIMARY KEY (issuer, subject)
);
CREATE INDEX user_tokens_since ON user_tokens (since);

-- +goose Down
DROP TABLE user_tokens;
ALTER TABLE workloads DROP COLUMN trust;
ALTER TABLE workloads DROP COLUMN disabled;
ALTER TABLE workloads DROP COLUMN tokens_since;
