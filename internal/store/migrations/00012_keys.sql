-- +goose Up
-- root is the id of the root key that wrapped a data key; '' of those from before it was written down.
ALTER TABLE data_keys ADD COLUMN root TEXT NOT NULL DEFAULT '';

-- Records that are sealed anew are found by id alone.
CREATE UNIQUE INDEX factors_id ON factors (id);

-- +goose Down
DROP INDEX factors_id;
ALTER TABLE data_keys DROP COLUMN root;
