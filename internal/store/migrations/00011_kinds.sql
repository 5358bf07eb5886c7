-- +goose Up
-- Providers of other kinds than OAuth 2.0 have settings of their own, as JSON.
ALTER TABLE providers ADD COLUMN options TEXT NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE providers DROP COLUMN options;
