-- +goose Up
-- A grant's tokens live on at the third party when the grant is gone. So the database refuses to lose one: what a
-- grant or a delegation refers to cannot be deleted under it (there is no ON DELETE), and store/revocation.go takes
-- them away first. Neither database can change a foreign key where it is, so the tables are made anew.
CREATE TABLE grants_kept (
  id              TEXT PRIMARY KEY,
  pool            TEXT NOT NULL,
  provider        TEXT NOT NULL,
  issuer          TEXT NOT NULL,
  subject         TEXT NOT NULL,
  account_id      TEXT NOT NULL,
  account_name    TEXT NOT NULL,
  scopes          TEXT NOT NULL,
  state           TEXT NOT NULL,
  reason          TEXT NOT NULL,
  sealed          BYTEA NOT NULL,
  expires         BIGINT NOT NULL,
  refresh_expires BIGINT NOT NULL,
  due             BIGINT NOT NULL,
  used            BIGINT NOT NULL,
  version         BIGINT NOT NULL,
  lease_owner     TEXT NOT NULL,
  lease_until     BIGINT NOT NULL,
  created         BIGINT NOT NULL,
  updated         BIGINT NOT NULL,
  FOREIGN KEY (pool, provider) REFERENCES providers (pool, name)
);
INSERT INTO grants_kept (id, pool, provider, issuer, subject, account_id, account_name, scopes, state, reason, sealed, expires, refresh_expires, due, used, version, lease_owner, lease_until, created, updated)
  SELECT id, pool, provider, issuer, subject, account_id, account_name, scopes, state, reason, sealed, expires, refresh_expires, due, used, version, lease_owner, lease_until, created, updated FROM grants;
CREATE TABLE delegations_kept (
  id       TEXT PRIMARY KEY,
  grant_id TEXT NOT NULL REFERENCES grants_kept (id) ON DELETE CASCADE,
  pool     TEXT NOT NULL,
  workload TEXT NOT NULL,
  scopes   TEXT NOT NULL,
  created  BIGINT NOT NULL,
  updated  BIGINT NOT NULL,
  FOREIGN KEY (pool, workload) REFERENCES workloads (pool, name)
);
INSERT INTO delegations_kept (id, grant_id, pool, workload, scopes, created, updated)
  SELECT id, grant_id, pool, workload, scopes, created, updated FROM delegations;
DROP TABLE delegations;
DROP TABLE grants;
ALTER TABLE grants_kept RENAME TO grants;
ALTER TABLE delegations_kept RENAME TO delegations;
CREATE UNIQUE INDEX grants_owner ON grants (pool, provider, issuer, subject);
CREATE INDEX grants_user ON grants (issuer, subject);
CREATE INDEX grants_due ON grants (due) WHERE state = 'active' AND due > 0;
CREATE UNIQUE INDEX delegations_owner ON delegations (grant_id, pool, workload);
CREATE INDEX delegations_workload ON delegations (pool, workload);

-- Tokens of grants that are gone here and are to be revoked at their third parties. The tokens are sealed as they
-- were in the grant, and open only there. There are no foreign keys: this outlives everything.
CREATE TABLE revocations (
  grant_id     TEXT NOT NULL,
  version      BIGINT NOT NULL,
  pool         TEXT NOT NULL,
  provider     TEXT NOT NULL,
  provider_id  TEXT NOT NULL,
  issuer       TEXT NOT NULL,
  subject      TEXT NOT NULL,
  account_name TEXT NOT NULL,
  sealed       BYTEA NOT NULL,
  cause        TEXT NOT NULL,
  created      BIGINT NOT NULL,
  due          BIGINT NOT NULL,
  attempts     BIGINT NOT NULL,
  last_error   TEXT NOT NULL,
  PRIMARY KEY (grant_id, version)
);
CREATE INDEX revocations_due ON revocations (due);
CREATE INDEX revocations_pool ON revocations (pool, grant_id);
CREATE INDEX revocations_provider ON revocations (provider_id);

-- Providers that were deleted while tokens were to be revoked with them; the secret is sealed as it was.
CREATE TABLE former_providers (
  id            TEXT PRIMARY KEY,
  pool          TEXT NOT NULL,
  name          TEXT NOT NULL,
  version       BIGINT NOT NULL,
  settings      TEXT NOT NULL,
  sealed_secret BYTEA NOT NULL
);

-- Who is told of what happens in a workload pool, how far in the audit log he has been told, and what is still to be
-- delivered or was lately.
CREATE TABLE webhooks (
  id       TEXT PRIMARY KEY,
  pool     TEXT NOT NULL REFERENCES workload_pools (name) ON DELETE CASCADE,
  url      TEXT NOT NULL,
  events   TEXT NOT NULL,
  sealed   BYTEA NOT NULL,
  disabled TEXT NOT NULL,
  told     BIGINT NOT NULL,
  taken    BIGINT NOT NULL,
  created  BIGINT NOT NULL
);
CREATE INDEX webhooks_pool ON webhooks (pool, id);
CREATE TABLE webhook_deliveries (
  id         TEXT PRIMARY KEY,
  webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  pool       TEXT NOT NULL,
  event      TEXT NOT NULL,
  payload    TEXT NOT NULL,
  state      TEXT NOT NULL,
  attempts   BIGINT NOT NULL,
  status     BIGINT NOT NULL,
  last_error TEXT NOT NULL,
  created    BIGINT NOT NULL,
  due        BIGINT NOT NULL,
  updated    BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (updated) WHERE state <> 'pending';
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, created);

-- +goose Down
DROP TABLE webhook_deliveries;
DROP TABLE webhooks;
DROP TABLE former_providers;
DROP TABLE revocations;
DROP INDEX grants_user;
