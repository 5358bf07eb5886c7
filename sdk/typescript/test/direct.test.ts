import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Agent, Client } from "@deputy-id/sdk";
import { FakeDeputy, launchToken } from "@deputy-id/sdk/testing";

const alice = { issuer: "https://login.example", subject: "alice" };
let deputy: FakeDeputy;
let tokenFile: string;
const server = createServer();
let url: string;

before(async () => {
  deputy = await FakeDeputy.start();
  tokenFile = join(await mkdtemp(join(tmpdir(), "deputy-")), "token");
  const agent = new Agent({
    name: "direct",
    deputy: deputy.client({ tokenFile, direct: true }),
    log: () => undefined,
    respond: (turn) => turn.say(`for ${turn.session.user.subject}`),
  });
  server.on("request", agent.handler());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/invoke`;
});

after(async () => {
  server.close();
  server.closeAllConnections();
  await deputy.close();
});

/** Sends a prompt with these headers, names and values in turns. */
function come(...headers: string[]): Promise<{ status: number; body: string; challenged: boolean }> {
  return new Promise((resolve, reject) => {
    const request = send(url, { method: "POST", headers: ["Host", "agent.test", ...headers] as never }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body, challenged: response.headers["www-authenticate"] !== undefined }));
    });
    request.on("error", reject);
    request.end('{"prompt":"hi"}');
  });
}

test("the bearer token of a request says who asks, and nothing else does", async () => {
  await writeFile(tokenFile, launchToken);
  const good = `Bearer ${deputy.userToken(alice).reveal()}`;
  const wat = deputy.mint(alice).reveal();
  const exchanges = (): number => deputy.requests.filter((r) => r === "POST /api/v1/workload-tokens").length;
  for (const [what, headers, status, want, asks] of [
    ["a user", ["Authorization", good], 200, "for alice", 1],
    ["in other letters", ["Authorization", good.replace("Bearer", "bearer ")], 200, "for alice", 1],
    ["nobody", [], 401, "token_missing", 0],
    ["nobody, with a scheme", ["Authorization", "Bearer"], 401, "token_missing", 0],
    ["a password", ["Authorization", "Basic YTpi"], 401, "token_missing", 0],
    ["two", ["Authorization", good, "Authorization", good], 401, "token_malformed", 0],
    ["a flood", ["Authorization", `Bearer ${"x".repeat(15 << 10)}`], 401, "token_signature", 1],
    ["nonsense", ["Authorization", "Bearer nonsense"], 401, "token_signature", 1],
    ["a workload token, as bearer", ["Authorization", `Bearer ${wat}`], 401, "token_signature", 1],
    ["what an ingress would send", ["WorkloadAccessToken", wat], 401, "token_missing", 0],
  ] as const) {
    const before = exchanges();
    const got = await come(...headers);
    assert.deepEqual([got.status, exchanges() - before, got.challenged], [status, asks, status === 401], what);
    assert.ok(got.body.includes(want), `${what}: ${got.body}`);
  }
});

test("a proof of its own that has ended is not its caller's fault", async () => {
  const good = `Bearer ${deputy.userToken(alice).reveal()}`;
  await writeFile(tokenFile, "yesterday's");
  const got = await come("Authorization", good);
  assert.equal(got.status, 503);
  assert.match(got.body, /exchange_failed/);
});

test("the environment says whether an ingress stands before it", () => {
  const env = { DEPUTY_URL: "http://localhost:8080", DEPUTY_WORKLOAD: "spiffe://d/default/a", DEPUTY_WORKLOAD_TOKEN_FILE: "/nowhere" };
  assert.equal(Client.fromEnvironment(env).direct, false);
  assert.equal(Client.fromEnvironment({ ...env, DEPUTY_INGRESS: "off" }).direct, true);
});
