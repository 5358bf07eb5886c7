-- +goose Up
-- A former provider whose client Deputy registered itself is kept until that client is deleted, too.
ALTER TABLE former_providers ADD COLUMN registered BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE former_providers ADD COLUMN ended BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE former_providers DROP COLUMN ended;
ALTER TABLE former_providers DROP COLUMN registered;
