-- +goose Up
-- What a third party was asked for, next to what the agent asked for; what else the agent asked for; and where a
-- workload may send people back to.
ALTER TABLE authorizations ADD COLUMN requested TEXT NOT NULL DEFAULT '';
ALTER TABLE authorizations ADD COLUMN extras TEXT NOT NULL DEFAULT '';
ALTER TABLE workloads ADD COLUMN return_urls TEXT NOT NULL DEFAULT '[]';
ALTER TABLE workloads ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

-- +goose Down
ALTER TABLE workloads DROP COLUMN version;
ALTER TABLE workloads DROP COLUMN return_urls;
ALTER TABLE authorizations DROP COLUMN extras;
ALTER TABLE authorizations DROP COLUMN requested;
