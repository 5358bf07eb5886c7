-- +goose Up
-- The device authorizations (RFC 8628) that users are asked to agree to at third parties. due is when the third party may
-- be asked next; whoever moves it asks.
CREATE TABLE consent_devices (
  authorization_id TEXT PRIMARY KEY REFERENCES authorizations (id) ON DELETE CASCADE,
  pool     TEXT NOT NULL,
  provider TEXT NOT NULL,
  issuer   TEXT NOT NULL,
  subject  TEXT NOT NULL,
  sealed   BYTEA NOT NULL,
  pause    BIGINT NOT NULL,
  due      BIGINT NOT NULL
);
CREATE INDEX consent_devices_due ON consent_devices (due);

-- +goose Down
DROP TABLE consent_devices;
