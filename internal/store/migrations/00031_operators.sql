-- +goose Up
-- Operators have a role, may be limited to some pools, and their tokens expire. Those that there are were made at a
-- first start, and stay their owner's; replicas that started together may have made one each.
ALTER TABLE operator_tokens ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE operator_tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'owner';
ALTER TABLE operator_tokens ADD COLUMN pools TEXT NOT NULL DEFAULT '{}';
ALTER TABLE operator_tokens ADD COLUMN expires BIGINT NOT NULL DEFAULT 0;
ALTER TABLE operator_tokens ADD COLUMN used BIGINT NOT NULL DEFAULT 0;
UPDATE operator_tokens SET id = 'opt_' || substr(hash, 1, 16);
UPDATE operator_tokens SET name = name || '-' || substr(hash, 1, 8)
  WHERE EXISTS (SELECT 1 FROM operator_tokens other WHERE other.name = operator_tokens.name AND other.hash < operator_tokens.hash);
CREATE UNIQUE INDEX operator_tokens_id ON operator_tokens (id);
CREATE UNIQUE INDEX operator_tokens_name ON operator_tokens (name);

-- +goose Down
DROP INDEX operator_tokens_name;
DROP INDEX operator_tokens_id;
ALTER TABLE operator_tokens DROP COLUMN used;
ALTER TABLE operator_tokens DROP COLUMN expires;
ALTER TABLE operator_tokens DROP COLUMN pools;
ALTER TABLE operator_tokens DROP COLUMN role;
ALTER TABLE operator_tokens DROP COLUMN id;
