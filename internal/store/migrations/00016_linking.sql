-- +goose Up
-- Accounts that people link by themselves, and logouts that go on to where the login was.
ALTER TABLE identity_providers ADD COLUMN upstream_logout BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE identity_links ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE identity_logins ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
ALTER TABLE identity_logins ADD COLUMN session_id TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE identity_logins DROP COLUMN session_id;
ALTER TABLE identity_logins DROP COLUMN user_id;
ALTER TABLE identity_links DROP COLUMN name;
ALTER TABLE identity_providers DROP COLUMN upstream_logout;
