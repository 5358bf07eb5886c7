-- +goose Up
-- What lets programs call an agent: one key each, hashed. They go with the agent.
CREATE TABLE agent_keys (
  id           TEXT PRIMARY KEY,
  pool         TEXT NOT NULL,
  agent        TEXT NOT NULL,
  name         TEXT NOT NULL,
  hash         TEXT NOT NULL,
  user_issuer  TEXT NOT NULL,
  user_subject TEXT NOT NULL,
  created      BIGINT NOT NULL,
  expires      BIGINT NOT NULL,
  FOREIGN KEY (pool, agent) REFERENCES agents (pool, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX agent_keys_name ON agent_keys (pool, agent, name);
CREATE UNIQUE INDEX agent_keys_hash ON agent_keys (hash);

-- +goose Down
DROP TABLE agent_keys;
