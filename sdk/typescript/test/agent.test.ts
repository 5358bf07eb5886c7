import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { afterEach, beforeEach, test } from "node:test";

import { Agent, apiKey, CredentialRefused, oauth2, object, string, tool, type AgentOptions, type Secret, type Turn } from "@deputy-id/sdk";
import { FakeDeputy } from "@deputy-id/sdk/testing";

const alice = { issuer: "https://login.example", subject: "alice" };
const servers: Server[] = [];
let deputy: FakeDeputy;
let thirdParty: string;
let seen: IncomingHttpHeaders[];
/** What the third party does with a request; by default it says who asks. */
let act: RequestListener;

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeEach(async () => {
  deputy = await FakeDeputy.start();
  seen = [];
  act = (request, response) => void response.end(`hello ${request.headers.authorization ?? ""}`);
  thirdParty = await listen((request, response) => {
    seen.push(request.headers);
    act(request, response);
  });
});

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
  await deputy.close();
});

interface Event {
  error_type?: string;
  error?: string;
  partial?: boolean;
  turnComplete?: boolean;
  longRunningToolIds?: string[];
  content: { parts: { text?: string; functionCall?: { id: string; name: string; args: any }; functionResponse?: { id: string; name: string; response: Record<string, string> } }[] };
}

/** Starts an agent and returns a way to ask it. */
async function start(respond: (turn: Turn) => Promise<void> | void, more: Partial<AgentOptions> = {}): Promise<(prompt: string, init?: RequestInit) => Promise<Event[]>> {
  const calendar = oauth2("calendar", "read").at(thirdParty);
  const today = tool({
    name: "today",
    description: "Lists today's appointments.",
    input: object({ path: string() }),
    needs: [calendar],
    run: async (call, input) => (await call.fetch(thirdParty + input.path)).text(),
  });
  const agent = new Agent({ name: "secretary", tools: [today], deputy: deputy.client(), log: () => undefined, respond, ...more });
  const url = await listen(agent.handler());
  const wat = deputy.mint(alice);
  return (prompt, init) => ask(url, wat, prompt, init);
}

async function ask(url: string, wat: Secret, prompt: string, init: RequestInit = {}): Promise<Event[]> {
  const response = await fetch(`${url}/invoke`, { method: "POST", headers: { workloadaccesstoken: wat.reveal() }, body: JSON.stringify({ prompt }), ...init });
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  const text = await response.text();
  return text.trim().split("\n\n").map((line) => JSON.parse(line.replace(/^data: /, "")) as Event);
}

const said = (events: Event[]): string => events.at(-1)?.content.parts[0]?.text ?? "";
const reply = async (turn: Turn): Promise<void> => turn.say(String(await turn.call("today", { path: "/" })));

test("a user who has agreed", async () => {
  const token = deputy.grant(alice, "calendar");
  const events = await (await start(reply))("hi");
  assert.equal(said(events), `\n\nhello Bearer ${token}`.trimStart());
  assert.deepEqual(events.map((e) => [e.partial, e.turnComplete]), [[undefined, undefined], [undefined, undefined], [true, undefined], [false, true]]);
});

test("a user who agrees, and one who does not", async () => {
  const request = await start(async (turn) => {
    turn.say("Let me see.");
    await Promise.all([turn.call("today", { path: "/" }), turn.call("today", { path: "/" })]); // one link for both
    await reply(turn);
  });
  let answer = request("hi");
  const id = await deputy.pending(alice);
  const token = deputy.agree(id);
  const events = await answer;
  const links = events.flatMap((e) => e.content.parts.filter((p) => p.functionCall?.name === "adk_request_credential"));
  assert.equal(links.length, 1);
  const call = links[0]?.functionCall;
  assert.equal(call?.args.authConfig.exchangedAuthCredential.oauth2.authUri, `${deputy.url}/authorize?request_uri=urn:deputy:authorization:${id}`);
  assert.deepEqual(events.find((e) => e.longRunningToolIds)?.longRunningToolIds, [call?.id]);
  assert.equal(said(events), `Let me see.\n\nhello Bearer ${token}`);
  assert(!JSON.stringify(events.slice(0, -2)).includes(token));

  await deputy.client().clear(deputy.mint(alice), "calendar");
  answer = request("hi");
  deputy.decline(await deputy.pending(alice));
  const last = (await answer).at(-1);
  assert.deepEqual([last?.error_type, last?.error], ["access_denied", "access was declined at the third party"]);
});

test("a 401 leads to another token, once", async () => {
  const old = deputy.grant(alice, "calendar");
  deputy.renew(alice, "calendar");
  act = (request, response) => {
    response.statusCode = request.headers.authorization === `Bearer ${old}` ? 401 : 200;
    response.end(String(response.statusCode));
  };
  assert.equal(said(await (await start(reply))("hi")), "200");
  assert.equal(seen.length, 2);
  act = (_, response) => void response.writeHead(401).end("no");
  assert.equal(said(await (await start(reply))("hi")), "no"); // Deputy has no other token: the tool knows best
  assert.equal(seen.length, 3);
});

test("a tool that sees the refusal itself asks the user again", async () => {
  const old = deputy.grant(alice, "calendar");
  let runs = 0;
  const picky = tool({
    name: "today",
    description: "",
    needs: [oauth2("calendar").at(thirdParty)],
    run: async (call) => {
      runs++;
      const text = await (await call.fetch(thirdParty)).text();
      if (text.includes(old)) throw new CredentialRefused("code 99991668");
      return text;
    },
  });
  const answer = (await start(async (turn) => turn.say(String(await turn.call("today"))), { tools: [picky] }))("hi");
  const token = deputy.agree(await deputy.pending(alice));
  assert.equal(said(await answer), `hello Bearer ${token}`);
  assert.equal(runs, 2);
});

test("a credential goes to its origin only", async () => {
  deputy.grant(alice, "calendar");
  deputy.keep("weather", { type: "api_key", apiKey: "k-1", header: "X-API-Key", prefix: "Key " });
  const elsewhere: IncomingHttpHeaders[] = [];
  const other = await listen((request, response) => {
    elsewhere.push(request.headers);
    response.end();
  });
  act = (request, response) => {
    const to = { "/out": other, "/in": "/there", "/loop": "/loop" }[request.url ?? ""];
    if (to) response.writeHead(302, { location: to }).end();
    else response.end(`at ${request.url} ${request.headers["x-api-key"] ?? ""}`);
  };
  const outcomes: unknown[] = [];
  const probe = tool({
    name: "probe",
    description: "",
    needs: [apiKey("weather").at(thirdParty)],
    run: async (call) => {
      outcomes.push((await call.fetch(`${thirdParty}/out`)).status, await (await call.fetch(`${thirdParty}/in`)).text());
      outcomes.push((await call.fetch(`${thirdParty}/loop`)).status, (await call.fetch(`${thirdParty}/in`, { method: "POST", body: "x" })).status);
      for (const url of [other, thirdParty.replace("127.0.0.1", "localhost"), "http://example.com/"]) {
        await assert.rejects(call.fetch(url), { code: "origin_not_declared" });
      }
    },
  });
  const events = await (await start(async (turn) => void (await turn.call("probe")), { tools: [probe] }))("hi");
  assert.deepEqual(outcomes, [302, "at /there Key k-1", 302, 302], JSON.stringify(events));
  assert.deepEqual(elsewhere, []);
});

test("a model's mistakes are told to it", async () => {
  const mistakes: unknown[] = [];
  const request = await start(async (turn) => {
    assert.deepEqual(turn.tools.map((t) => t.name), ["today"]);
    for (const [name, input] of [["nothing", {}], ["today", { pth: "/" }], ["today", "x"]] as const) {
      await turn.call(name, input).catch((error: { code: string }) => mistakes.push(error.code));
    }
  });
  await request("hi");
  assert.deepEqual(mistakes, ["tool_not_found", "tool_input_invalid", "tool_input_invalid"]);
});

test("an error of the author's code is not shown to strangers", async () => {
  const last = (await (await start(() => { throw new Error("password of the database: x"); }))("hi")).at(-1);
  assert.deepEqual([last?.error_type, last?.error], ["failed", "the agent could not finish this request"]);
});

test("requests that are none", async () => {
  const agent = new Agent({ name: "secretary", deputy: deputy.client(), log: () => undefined, respond: () => undefined, maxPrompt: 100 });
  const url = await listen(agent.handler());
  const wat = deputy.mint(alice).reveal();
  const good = JSON.stringify({ prompt: "hi", more: 1 });
  for (const [token, body, status, code] of [
    ["", good, 401, "token_missing"],
    ["x", good, 401, "token_malformed"],
    [deputy.mint().reveal(), good, 401, "token_without_user"],
    [wat, "{", 400, "json_invalid"],
    [wat, "[]", 400, "json_invalid"],
    [wat, "null", 400, "json_invalid"],
    [wat, "{}", 400, "prompt_missing"],
    [wat, '{"prompt":" "}', 400, "prompt_missing"],
    [wat, '{"prompt":["x"]}', 400, "prompt_missing"],
    [wat, "x".repeat(101), 413, "prompt_too_large"],
  ] as const) {
    const response = await fetch(`${url}/invoke`, { method: "POST", body, headers: { workloadaccesstoken: token } });
    const answer = (await response.json()) as { error: { code: string } };
    assert.deepEqual([response.status, answer.error.code], [status, code]);
    assert.equal(response.headers.has("www-authenticate"), status === 401);
  }
  for (const [path, status] of [["/ping", 200], ["/health", 200], ["/invoke", 404], ["/x", 404]] as const) {
    assert.equal((await fetch(url + path)).status, status, path);
  }
  deputy.fail = () => 503;
  const fresh = new Agent({ name: "secretary", deputy: deputy.client(), log: () => undefined, respond: () => undefined });
  const response = await fetch(`${await listen(fresh.handler())}/invoke`, { method: "POST", body: good, headers: { workloadaccesstoken: wat } });
  assert.equal(response.status, 503);
});

test("the turn ends when the user goes away", async () => {
  let ended!: (reason: unknown) => void;
  const reason = new Promise((resolve) => (ended = resolve));
  const request = await start(async (turn) => {
    try {
      await turn.call("today", { path: "/" }); // waits for a consent that nobody gives
    } catch (error) {
      ended(error);
      throw error;
    }
  });
  const leave = new AbortController();
  const answer = request("hi", { signal: leave.signal }).catch(() => undefined);
  await deputy.pending(alice);
  leave.abort();
  await answer;
  assert.equal(((await reason) as Error).message, "the user went away");
});

test("serve stops when it is told to, and lets an answer finish", async () => {
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, "127.0.0.1", resolve));
  const port = (free.address() as AddressInfo).port;
  await new Promise((resolve) => free.close(resolve));
  let finish!: () => void;
  let begun!: () => void;
  const beginning = new Promise<void>((resolve) => (begun = resolve));
  const finishing = new Promise<void>((resolve) => (finish = resolve));
  const agent = new Agent({ name: "secretary", deputy: deputy.client(), log: () => undefined, respond: async (turn) => {
    begun();
    await finishing;
    turn.say("done");
  } });
  const stop = new AbortController();
  delete process.env["PORT"];
  await assert.rejects(agent.serve(stop.signal), { code: "environment_incomplete" });
  process.env["PORT"] = String(port);
  const serving = agent.serve(stop.signal);
  const answer = ask(`http://127.0.0.1:${port}`, deputy.mint(alice), "hi");
  await beginning;
  stop.abort();
  const refused = new Promise((resolve) => connect(port, "127.0.0.1").once("error", resolve).once("connect", () => resolve(undefined)));
  assert(await refused);
  finish();
  assert.equal(said(await answer), "done");
  await serving;
});
