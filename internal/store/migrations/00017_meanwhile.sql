-- +goose Up
-- The version of the provider that the user was sent to the third party for: the code that comes back is for no other.
ALTER TABLE authorizations ADD COLUMN provider_version BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE authorizations DROP COLUMN provider_version;
