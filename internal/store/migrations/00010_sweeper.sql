-- +goose Up
-- When a grant's tokens are due to be refreshed (0: never), and when a credential of it was last asked for.
ALTER TABLE grants ADD COLUMN due BIGINT NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN used BIGINT NOT NULL DEFAULT 0;
UPDATE grants SET used = updated, due = CASE WHEN expires > 0 THEN expires - 300000 ELSE 0 END;
CREATE INDEX grants_due ON grants (due) WHERE state = 'active' AND due > 0;

-- +goose Down
DROP INDEX grants_due;
ALTER TABLE grants DROP COLUMN used;
ALTER TABLE grants DROP COLUMN due;
