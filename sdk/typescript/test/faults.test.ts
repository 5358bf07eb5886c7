import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, test } from "node:test";

import { Agent, AuthorizationFailed, Client, oauth2, object, tool, type Authorization } from "@deputy-id/sdk";
import { FakeDeputy } from "@deputy-id/sdk/testing";

const alice = { issuer: "https://login.example", subject: "alice" };
let deputy: FakeDeputy;
let closes: (() => void)[];

beforeEach(async () => {
  deputy = await FakeDeputy.start();
  closes = [];
});
afterEach(async () => {
  for (const close of closes) close();
  await deputy.close();
});

async function listen(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closes.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("what Deputy says about when to come back is heeded, if it is soon", async () => {
  for (const [said, tries, pause] of [
    ["2", 4, 2_000],
    ["10", 4, 10_000],
    ["11", 1, 11_000],
    ["soon", 4, 0],
    ["-1", 4, 0],
    ["in a minute", 1, 60_000],
  ] as const) {
    let asked = 0;
    const slept: number[] = [];
    const url = await listen((_, response) => {
      asked++;
      const now = new Date();
      const after = said === "in a minute" ? new Date(now.getTime() + 60_000).toUTCString() : said;
      response.writeHead(429, { "retry-after": after, date: now.toUTCString() }).end();
    });
    const client = new Client({ url, sleep: async (ms) => void slept.push(ms) });
    await assert.rejects(client.token(deputy.mint(alice), oauth2("calendar")), { status: 429, retryAfter: pause }, said);
    assert.equal(asked, tries, said);
    assert.equal(slept.length, tries - 1, said);
    assert.ok(slept.every((ms) => ms >= pause && ms < pause + 5_000), `${said}: ${slept}`);
  }
});

test("a wait survives a page in Deputy's place, and not one that stays", async () => {
  const a: Authorization = { id: "auth_1", state: "pending", reason: "", message: "", provider: "calendar", scopes: [], url: "https://x", expiresAt: undefined };
  for (const [pages, events] of [[3, false], [1, true], [4, false]] as const) {
    let asked = 0;
    const url = await listen((request, response) => {
      if (asked++ >= pages) {
        response.writeHead(200, { "content-type": "application/json" }).end('{"id":"auth_1","state":"completed"}');
      } else if (events && request.url?.endsWith("/events")) {
        response.writeHead(200, { "content-type": "text/event-stream" }).end('event: state\ndata: {"state":"pen\n\n');
      } else if (request.url?.endsWith("/events")) {
        asked--;
        response.writeHead(200, { "content-type": "text/html" }).end("<h1>Back soon</h1>");
      } else {
        response.end("<h1>Back soon</h1>");
      }
    });
    const waiting = new Client({ url, sleep: async () => undefined }).wait(deputy.mint(alice), a);
    if (pages < 4) await waiting;
    else await assert.rejects(waiting, { code: "answer_malformed" });
  }
});

test("what one was told is the answer for all who wait for it", async () => {
  const calendar = oauth2("calendar").at("https://calendar.example");
  const today = tool({ name: "today", description: "", input: object({}), needs: [calendar], run: async (call) => (await call.fetch("https://calendar.example/")).text() });
  const outcomes: unknown[] = [];
  const agent = new Agent({
    name: "secretary",
    tools: [today],
    deputy: deputy.client(),
    log: () => undefined,
    fetch: async () => new Response("9:30 stand-up"),
    respond: async (turn) => {
      for (let round = 0; round < 2; round++) outcomes.push(await Promise.allSettled(Array.from({ length: 20 }, () => turn.call("today"))));
    },
  });
  const url = await listen(agent.handler());
  const answer = fetch(`${url}/invoke`, { method: "POST", headers: { workloadaccesstoken: deputy.mint(alice).reveal() }, body: '{"prompt":"hi"}' }).then((r) => r.text());
  deputy.decline(await deputy.pending(alice));
  deputy.agree(await deputy.pending(alice)); // it asks again, for the next ones
  const events = await answer;
  const [declined, agreed] = outcomes as PromiseSettledResult<unknown>[][];
  assert.ok(declined?.every((o) => o.status === "rejected" && o.reason instanceof AuthorizationFailed && o.reason.code === "access_denied"));
  assert.ok(agreed?.every((o) => o.status === "fulfilled" && o.value === "9:30 stand-up"));
  assert.equal(events.split('"name":"adk_request_credential","args"').length - 1, 2);
});
