import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { DeputyError, Secret } from "@deputy-id/sdk";
import { FakeDeputy, workload } from "@deputy-id/sdk/testing";

const alice = { issuer: "https://login.example", subject: "alice" };
let deputy: FakeDeputy;

beforeEach(async () => {
  deputy = await FakeDeputy.start();
});
afterEach(() => deputy.close());

test("what a token proves", async () => {
  const client = deputy.client();
  const id = await client.verify(deputy.mint(alice));
  assert.deepEqual({ ...id, expires: undefined }, { user: alice, workload, chain: [], expires: undefined });
  assert.equal((await client.verify(deputy.mint())).user, undefined);
  const seconds = Math.floor(Date.now() / 1000);
  const chained = deputy.sign("wat+jwt", {
    iss: deputy.url, aud: [deputy.url], sub: "alice", iat: seconds, exp: seconds + 60,
    sub_id: { format: "iss_sub", iss: alice.issuer, sub: "alice" },
    act: { sub: workload, act: { sub: "spiffe://deputy.test/default/front" } },
  });
  assert.deepEqual((await client.verify(chained)).chain, ["spiffe://deputy.test/default/front"]);
});

test("tokens that prove nothing", async () => {
  const client = deputy.client();
  const seconds = Math.floor(Date.now() / 1000);
  const good = { iss: deputy.url, aud: deputy.url, sub: workload, iat: seconds, exp: seconds + 60 };
  const who = { sub: "alice", sub_id: { format: "iss_sub", iss: alice.issuer, sub: "alice" }, act: { sub: workload } };
  const sign = (claims: object, typ = "wat+jwt", header = {}): string => deputy.sign(typ, { ...good, ...claims }, header).reveal();
  const [head, body, tail] = sign({}).split(".") as [string, string, string];
  const unsigned = Buffer.from('{"alg":"none","typ":"wat+jwt","kid":"key-1"}').toString("base64url");
  let deep: object = { sub: "x" };
  for (let i = 0; i < 10; i++) deep = { sub: "x", act: deep };
  for (const [token, want] of [
    ["", "token_malformed"],
    ["a.b", "token_malformed"],
    [`${head}.${body}`, "token_malformed"],
    [`${head}.${body}.`, "token_malformed"],
    [`${head}.${body}.${tail}.x`, "token_malformed"],
    [`${head}.${body}.${tail}=`, "token_malformed"],
    [`${head}.${body}\n.${tail}`, "token_malformed"],
    [`${head}.${Buffer.from("[]").toString("base64url")}.${tail}`, "token_malformed"],
    ["x".repeat(17 << 10), "token_malformed"],
    [`${head}.${Buffer.from(JSON.stringify({ ...good, sub: "x" })).toString("base64url")}.${tail}`, "token_signature"],
    [`${head}.${body}.${Buffer.from("short").toString("base64url")}`, "token_signature"],
    [`${unsigned}.${body}.${tail}`, "token_algorithm"],
    [sign({}, "at+jwt"), "token_type"],
    [sign({}, "wat+jwt", { crit: ["x"] }), "token_algorithm"],
    [sign({}, "wat+jwt", { kid: "" }), "token_unknown_key"],
    [sign({}, "wat+jwt", { kid: "other" }), "token_unknown_key"],
    [sign({ iss: "https://other.example" }), "token_issuer"],
    [sign({ aud: "https://other.example" }), "token_audience"],
    [sign({ aud: [deputy.url, "https://other.example"] }), "token_audience"],
    [sign({ exp: seconds - 31 }), "token_expired"],
    [sign({ iat: seconds + 60 }), "token_not_yet_valid"],
    [sign({ exp: "soon" }), "token_malformed"],
    [sign({ exp: 1e300 }), "token_malformed"],
    [sign({ sub: "spiffe://deputy.test/default/other" }), "token_workload"],
    [sign({ ...who, act: undefined }), "token_malformed"],
    [sign({ ...who, sub: "bob" }), "token_malformed"],
    [sign({ ...who, act: { sub: workload, act: deep } }), "token_malformed"],
    [sign({ ...who, act: { sub: "spiffe://deputy.test/default/other" } }), "token_workload"],
  ] as const) {
    await assert.rejects(client.verify(new Secret(token)), (e) => e instanceof DeputyError && e.code === want && (token === "" || !e.message.includes(token)), want);
  }
});

test("keys are asked for no more often than needed, and kept while Deputy is away", async () => {
  let now = Date.now();
  deputy.now = () => now;
  const asked = (): number => deputy.requests.filter((r) => r.endsWith("jwks.json")).length;
  const client = deputy.client();
  const token = deputy.mint(alice);
  await Promise.all([1, 2, 3, 4].map(() => client.verify(token)));
  assert.equal(asked(), 1);
  deputy.rotateKey();
  await assert.rejects(client.verify(deputy.mint(alice)), { code: "token_unknown_key" }); // the kid is the caller's choice
  assert.equal(asked(), 1);
  now += 31_000;
  await client.verify(deputy.mint(alice));
  assert.equal(asked(), 2);
  deputy.fail = () => 503;
  now += 11 * 60_000;
  await client.verify(deputy.mint(alice));
  assert.equal(asked(), 3);
  now += 25 * 3600_000;
  await assert.rejects(client.verify(deputy.mint(alice)), { code: "injected" });
});
