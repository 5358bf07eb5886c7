-- +goose Up
-- What was built of an agent: its definition, and from where. A version of the agent runs one of them. They go with the agent.
CREATE TABLE agent_builds (
  pool       TEXT NOT NULL,
  agent      TEXT NOT NULL,
  build      BIGINT NOT NULL,
  definition TEXT NOT NULL,
  directory  TEXT NOT NULL,
  created    BIGINT NOT NULL,
  PRIMARY KEY (pool, agent, build),
  FOREIGN KEY (pool, agent) REFERENCES agents (pool, name) ON DELETE CASCADE
);
ALTER TABLE agents ADD COLUMN build BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN repeats BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE agents SET build = version;
INSERT INTO agent_builds (pool, agent, build, definition, directory, created) SELECT pool, name, version, definition, directory, updated FROM agents;

-- +goose Down
ALTER TABLE agents DROP COLUMN repeats;
ALTER TABLE agents DROP COLUMN build;
DROP TABLE agent_builds;
