import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import {
  Agent, apiKey, AuthorizationFailed, Caller, ConsentRequired, DeputyError, oauth2, object, string, tokenTool, tool,
  type AgentOptions, type Authorization, type Credential, type Turn,
} from "@deputy-id/sdk";
import { FakeDeputy, launchToken } from "@deputy-id/sdk/testing";

const alice = { issuer: "https://login.example", subject: "alice" };
const servers: Server[] = [];
let deputy: FakeDeputy;
let thirdParty: string;
let seen: IncomingHttpHeaders[];

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeEach(async () => {
  deputy = await FakeDeputy.start();
  seen = [];
  thirdParty = await listen((request, response) => {
    seen.push(request.headers);
    response.end(request.headers.authorization ?? String(request.headers["x-api-key"]));
  });
});

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
  await deputy.close();
});

const calendar = (): Credential => oauth2("calendar", "read").at(thirdParty);

/** A caller of the workload itself, with the file that it proves itself with. */
async function machine(): Promise<{ caller: Caller; file: string }> {
  const file = join(await mkdtemp(join(tmpdir(), "deputy-")), "token");
  await writeFile(file, launchToken);
  return { caller: new Caller({ deputy: deputy.client({ tokenFile: file }) }), file };
}

test("a job acts for the workload itself", async () => {
  const { caller, file } = await machine();
  deputy.keep("ledger", { type: "oauth2", accessToken: "m2m-1", tokenType: "Bearer" });
  deputy.keep("weather", { type: "api_key", apiKey: "k-1", header: "X-Api-Key" });
  const ledger = caller.fetch(oauth2("ledger", "read").at(thirdParty));
  const answers = await Promise.all([1, 2, 3].map(async () => (await ledger(thirdParty)).text()));
  assert.deepEqual(answers, ["Bearer m2m-1", "Bearer m2m-1", "Bearer m2m-1"]);
  assert.equal(await (await caller.fetch(apiKey("weather").at(thirdParty))(thirdParty)).text(), "k-1");
  const exchanges = (): number => deputy.requests.filter((r) => r === "POST /api/v1/workload-tokens").length;
  assert.equal(exchanges(), 1);

  // What an operator took back is not used for longer than a minute; the workload's own token is renewed before it ends.
  deputy.keep("ledger", { type: "oauth2", accessToken: "m2m-2", tokenType: "Bearer" });
  assert.equal(await (await ledger(thirdParty)).text(), "Bearer m2m-1");
  let ahead = 61_000;
  deputy.now = () => Date.now() + ahead;
  assert.equal(await (await ledger(thirdParty)).text(), "Bearer m2m-2");
  assert.equal(exchanges(), 1);
  ahead = 14.5 * 60_000;
  assert.equal(await (await ledger(thirdParty)).text(), "Bearer m2m-2");
  assert.equal(exchanges(), 2);

  await writeFile(file, "yesterday's");
  ahead = 40 * 60_000;
  await assert.rejects(ledger(thirdParty), (error: DeputyError) => error.code === "proof_unknown");
  await writeFile(file, launchToken); // and the failure is not remembered
  assert.equal(await (await ledger(thirdParty)).text(), "Bearer m2m-2");
});

test("nobody is there to be asked, or somebody is", async () => {
  const token = deputy.mint(alice);
  const alone = new Caller({ deputy: deputy.client(), token });
  await assert.rejects(alone.fetch(calendar())(thirdParty), (error: ConsentRequired) => error.authorization.provider === "calendar" && !error.message.includes("request_uri"));

  const told: Authorization[] = [];
  const caller = new Caller({ deputy: deputy.client(), token, ask: (a) => told.push(a) });
  const answer = caller.fetch(calendar())(thirdParty);
  const first = await deputy.pending(alice);
  deputy.decline(first); // what nobody waits for any more
  const id = await deputy.pending(alice);
  deputy.agree(id);
  assert.match(await (await answer).text(), /^Bearer access-/);
  assert.deepEqual(told.map((a) => a.state), ["pending", "completed"]);
  assert.match(told[0]!.url, /request_uri/);
  assert.equal(told[1]!.provider, "calendar");
});

test("a caller goes nowhere else", async () => {
  const elsewhere = await listen((_, response) => void response.end("elsewhere"));
  const { caller } = await machine();
  deputy.keep("calendar", { type: "oauth2", accessToken: "t", tokenType: "Bearer" });
  await assert.rejects(caller.fetch(calendar())(elsewhere), (error: DeputyError) => error.code === "origin_not_declared");
  assert.throws(() => caller.fetch(oauth2("calendar")), (error: DeputyError) => error.code === "credential_invalid");
  assert.throws(() => caller.fetch(calendar(), oauth2("other").at(thirdParty)), (error: DeputyError) => error.code === "credential_invalid");
});

/** Starts an agent and returns a way to ask it as alice, or as nobody. */
async function start(respond: AgentOptions["respond"], more: Partial<AgentOptions> = {}): Promise<(headers?: Record<string, string>, user?: typeof alice) => Promise<Response>> {
  const agent = new Agent({ name: "secretary", deputy: deputy.client(), log: () => undefined, respond, ...more });
  const url = await listen(agent.handler());
  return (headers = {}, ...user) => {
    const wat = deputy.mint(user.length === 0 ? alice : user[0]);
    return fetch(`${url}/invoke`, { method: "POST", headers: { workloadaccesstoken: wat.reveal(), ...headers }, body: '{"prompt":"hi"}' });
  };
}

const whole = { accept: "application/json" };

test("all links side by side", async () => {
  const drive = (): Credential => oauth2("drive", "read").at(thirdParty.replace("127.0.0.1", "localhost"));
  const states: string[] = [];
  const ask = await start(
    async (turn: Turn) => {
      await turn.authorize(calendar(), drive());
      turn.say(await (await turn.fetch(calendar(), drive())(thirdParty)).text());
    },
    { progress: (_, a) => states.push(`${a.provider} ${a.state}`) },
  );
  const answer = ask();
  const first = await deputy.pending(alice);
  deputy.step(first, "redirected");
  const second = await deputy.pending(alice);
  assert.notEqual(first, second);
  deputy.agree(second);
  deputy.agree(first);
  const text = await (await answer).text();
  assert.equal(text.match(/adk_request_credential/g)?.length, 4); // two questions, two outcomes
  assert.match(text, /Bearer access-/);
  assert.deepEqual(states.filter((s) => s.endsWith("completed")).sort(), ["calendar completed", "drive completed"]);
  assert.deepEqual(states.slice(0, 2).sort(), ["calendar pending", "drive pending"]);

  const again = ask();
  assert.match(await (await again).text(), /Bearer access-/); // both are there
});

test("an authorization that comes to nothing, and one that does not", async () => {
  const ask = await start(async (turn) => {
    await assert.rejects(turn.authorize(calendar(), oauth2("drive").at("https://drive.example")), AuthorizationFailed);
    turn.say(await (await turn.fetch(calendar())(thirdParty)).text());
  });
  const answer = ask();
  for (let decided = 0; decided < 2; decided++) {
    const id = await deputy.pending(alice);
    if (deputy.provider(id) === "calendar") deputy.agree(id);
    else deputy.decline(id);
  }
  assert.match(await (await answer).text(), /Bearer access-/);
});

test("a tool that is handed the token", async () => {
  const token = deputy.grant(alice, "warehouse");
  const count = tokenTool({
    name: "count",
    description: "Counts rows.",
    input: object({ table: string() }),
    credential: oauth2("warehouse"),
    run: (_, handed, { table }) => `${table}: ${handed.value.reveal() === token} ${String(handed.value)}`,
  });
  const ask = await start(async (turn) => turn.say(String(await turn.call("count", { table: "sales" }))), { tools: [count] });
  const text = await (await ask()).text();
  assert.match(text, /sales: true/);
  assert(!text.includes(token));
  assert.throws(() => tokenTool({ name: "x", description: "", credential: oauth2(""), run: () => 1 }), (error: DeputyError) => error.code === "credential_invalid");
});

test("who takes JSON only gets one object", async () => {
  const say = tool({ name: "say", description: "", run: () => "two" });
  const ask = await start(async (turn) => {
    turn.say("one");
    turn.say(String(await turn.call("say")));
  }, { tools: [say] });
  for (const [accept, one] of Object.entries({
    "application/json": true, "Application/JSON;q=0.9, text/plain": true, "*/*": false, "application/json, */*": false, "text/event-stream, application/json": false, "text/plain": false,
  })) {
    const response = await ask({ accept });
    const body = await response.text();
    assert.equal(response.headers.get("content-type") === "application/json", one, accept);
    assert.equal(body.trim() === '{"answer":"one\\n\\ntwo"}', one, body);
  }
});

test("what is no answer has a status there", async () => {
  const asking = async (turn: Turn): Promise<void> => void (await turn.fetch(calendar())(thirdParty));
  let response = await (await start(asking))(whole);
  const body = (await response.json()) as { error: { code: string }; authorization: { id: string; provider: string; url: string } };
  assert.deepEqual([response.status, body.error.code, body.authorization.provider], [403, "authorization_required", "calendar"]);
  assert.match(body.authorization.url, /request_uri/);
  response = await (await start((turn) => turn.authorize(calendar(), oauth2("drive").at("https://drive.example"))))(whole);
  assert.equal(response.status, 403);

  deputy.agent("other", (_, answer) => {
    const link = { resourceRef: "auth_9", oauth2: { authUri: `${deputy.url}/authorize?request_uri=x` } };
    const event = { content: { parts: [{ functionCall: { id: "adk-7", name: "adk_request_credential", args: { authConfig: { rawAuthCredential: link } } } }] } };
    answer.writeHead(200, { "content-type": "text/event-stream" }).end(`data: ${JSON.stringify(event)}\n\n`);
  });
  response = await (await start(async (turn) => void (await turn.ask("other", "hi"))))(whole);
  assert.match(await response.text(), /"id":"auth_9"/);
  assert.equal(response.status, 403);

  for (const [what, respond, status] of [
    ["failed", () => { throw new Error("a secret of the house"); }, 500],
    ["tool_not_found", (turn: Turn) => turn.call("nothing"), 500],
    ["timeout", (turn: Turn) => new Promise((_, reject) => turn.signal.addEventListener("abort", () => reject(turn.signal.reason as Error))), 504],
  ] as const) {
    response = await (await start(async (turn) => void (await respond(turn)), what === "timeout" ? { maxTurn: 500 } : {}))(whole);
    const text = await response.text();
    assert.equal(response.status, status, text);
    assert.match(text, new RegExp(`"code":"${what}"`));
    assert(!text.includes("house"));
  }
});

test("requests for nobody are let in on purpose only", async () => {
  deputy.keep("weather", { type: "api_key", apiKey: "k-1", header: "X-Api-Key" });
  const respond = async (turn: Turn): Promise<void> => turn.say(`${turn.session.user.subject}|${await (await turn.fetch(apiKey("weather").at(thirdParty))(thirdParty)).text()}`);
  let response = await (await start(respond))(whole, undefined);
  assert.deepEqual([response.status, await response.text().then((t) => t.includes("token_without_user"))], [401, true]);
  response = await (await start(respond, { unattended: true }))(whole, undefined);
  assert.deepEqual(await response.json(), { answer: "|k-1" });
});
