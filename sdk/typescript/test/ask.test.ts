import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, test } from "node:test";

import { Agent, Client } from "@deputy-id/sdk";
import { FakeDeputy, launchToken, workload } from "@deputy-id/sdk/testing";

const alice = { issuer: "https://login.example", subject: "alice" };
let deputy: FakeDeputy;
let server: Server;

beforeEach(async () => {
  deputy = await FakeDeputy.start();
  const agent = new Agent({
    name: "front",
    deputy: deputy.client(),
    log: () => undefined,
    respond: async (turn) => turn.say(`it said: ${await turn.ask("other", turn.prompt)}`),
  });
  server = createServer(agent.handler());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  server.close();
  server.closeAllConnections();
  await deputy.close();
});

/** Asks the agent, and returns its events. */
async function ask(prompt: string): Promise<any[]> {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/invoke`;
  const headers = { workloadaccesstoken: deputy.mint(alice).reveal(), session_id: "s1" };
  const answer = await (await fetch(url, { method: "POST", headers, body: JSON.stringify({ prompt }) })).text();
  return answer.trim().split("\n\n").map((line) => JSON.parse(line.replace(/^data: /, "")));
}

/** An agent that answers with these events. */
const saying = (...events: unknown[]): RequestListener => (_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  response.end(events.map((e) => `data: ${typeof e === "string" ? e : JSON.stringify(e)}\n\n`).join(""));
};
const words = (text: string, partial: boolean): unknown => ({ content: { role: "model", parts: [{ text }] }, partial });

const whole = "long ".repeat(20_000); // longer than what Deputy itself sends at once
for (const [what, other, want] of [
  ["in parts, and then in whole", saying(words("he", true), words("llo", true), words("hello", false)), "hello"],
  ["in parts only", saying(words("he", true), words("llo", true)), "hello"],
  ["twice in whole", saying(words("one ", true), words("one ", false), words("two", false)), "one two"],
  ["something long", saying(words(whole, false)), whole],
  ["with tools of its own", saying({ content: { parts: [{ functionCall: { id: "1", name: "read", args: [7] } }] } }, words("done", false)), "done"],
] as const) {
  test(`another agent answers ${what}`, async () => {
    deputy.agent("other", other);
    assert.equal((await ask("what?")).at(-1).content.parts[0].text, `it said: ${want}`);
  });
}

test("another agent answers as JSON, and sees the user and the conversation", async () => {
  deputy.agent("other", (request, response) => {
    const { user_id, session_id, authorization } = request.headers;
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify([user_id, session_id, authorization]));
  });
  assert.equal((await ask("what?")).at(-1).content.parts[0].text, 'it said: ["alice","s1",null]');
});

for (const [what, other, code] of [
  ["that it cannot", saying(words("he", true), { error: "no more tokens", error_type: "quota" }), "agent_failed"],
  ["what is no event", saying("hello"), "answer_malformed"],
  ["endlessly", saying("x".repeat(2 << 20)), "answer_malformed"],
  ["too much", saying(words("x".repeat(1 << 19), false), words("x".repeat(1 << 19), false), words("!", false)), "answer_too_large"],
  ["with a status", ((_, response) => void response.writeHead(429).end('{"error":{"message":"slower","code":"rate_limited"}}')) as RequestListener, "rate_limited"],
] as const) {
  test(`another agent answers ${what}`, async () => {
    deputy.agent("other", other);
    assert.equal((await ask("what?")).at(-1).error_type, code);
  });
}

test("an agent that may not be called", async () => {
  assert.equal((await ask("what?")).at(-1).error_type, "caller_not_allowed");
});

test("the user is asked through the chain, and sent nowhere else", async () => {
  const done = { content: { parts: [{ functionResponse: { id: "adk-7", name: "adk_request_credential", response: { status: "failed", code: "access_denied" } } }] } };
  for (const [link, shown] of [
    [`${deputy.url}/authorize?request_uri=urn:x`, true],
    ["https://evil.example/authorize", false],
    [`${deputy.url}.evil.example/`, false],
    ["javascript:alert(1)", false],
  ] as const) {
    const rawAuthCredential = { authType: "oauth2", resourceRef: "auth_1", oauth2: { authUri: link } };
    const call = { id: "adk-7", name: "adk_request_credential", args: { functionCallId: "c", authConfig: { credentialKey: "k", rawAuthCredential } } };
    deputy.agent("other", saying({ content: { parts: [{ functionCall: call }] } }, done, words("no.", false)));
    const events = await ask("what?");
    const asked = events.find((e) => e.content.parts[0].functionCall);
    const decided = events.find((e) => e.content.parts[0].functionResponse);
    assert.equal(asked?.content.parts[0].functionCall.args.authConfig.rawAuthCredential.oauth2.authUri, shown ? link : undefined);
    assert.equal(decided?.content.parts[0].functionResponse.response.code, shown ? "access_denied" : undefined);
    assert.equal(events.at(-1).content.parts[0].text.trim(), "it said: no.");
  }
});

test("a launch file is of use to one process", async () => {
  const tokenFile = join(await mkdtemp(join(tmpdir(), "deputy-")), "token");
  await writeFile(tokenFile, launchToken);
  const env = { DEPUTY_URL: deputy.url, DEPUTY_WORKLOAD: workload, DEPUTY_WORKLOAD_TOKEN_FILE: tokenFile };
  const bindings: unknown[] = [];
  const real = globalThis.fetch;
  globalThis.fetch = (url, init) => {
    bindings.push(JSON.parse(String(init?.body))["binding"]);
    return real(url, init);
  };
  try {
    for (const extra of [{}, {}, { DEPUTY_WORKLOAD_BINDING: "off" }]) await Client.fromEnvironment({ ...env, ...extra }).workloadToken();
  } finally {
    globalThis.fetch = real;
  }
  assert.match(String(bindings[0]), /^[\w-]{32}$/);
  assert.deepEqual(bindings, [bindings[0], bindings[0], undefined]);
});
