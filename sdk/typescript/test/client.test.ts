import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { AuthorizationFailed, Client, ConsentRequired, oauth2, Secret, type Authorization } from "@deputy-id/sdk";
import { FakeDeputy, launchToken } from "@deputy-id/sdk/testing";

const alice = { issuer: "https://login.example", subject: "alice" };
let deputy: FakeDeputy;

beforeEach(async () => {
  deputy = await FakeDeputy.start();
});
afterEach(() => deputy.close());

async function link(client: Client, wat: Secret): Promise<Authorization> {
  try {
    await client.token(wat, oauth2("calendar"));
  } catch (error) {
    if (error instanceof ConsentRequired) return error.authorization;
    throw error;
  }
  throw new Error("no link");
}

test("every kind of credential", async () => {
  const client = deputy.client();
  const wat = deputy.mint(alice);
  const token = deputy.grant(alice, "calendar");
  const got = await client.token(wat, oauth2("calendar", "read"));
  assert.deepEqual([got.type, got.value.reveal(), got.header, got.scopes], ["Bearer", token, "Authorization", ["read"]]);
  deputy.keep("weather", { type: "api_key", apiKey: "k-1", header: "X-API-Key", prefix: "" });
  assert.equal((await client.token(wat, oauth2("weather"))).header, "X-API-Key");
  deputy.keep("shop", { type: "basic", username: "u", password: "p" });
  assert.deepEqual([(await client.token(wat, oauth2("shop"))).user, (await client.token(wat, oauth2("shop"))).value.reveal()], ["u", "p"]);
  deputy.keep("cloud", { type: "sts", cloud: "aws", region: "eu-west-1", accessKeyId: "AK", secretAccessKey: "SK", sessionToken: "ST", expiresAt: "2030-01-02T03:04:05Z" });
  const keys = await client.keys(wat, "cloud");
  assert.deepEqual([keys.accessKeyId, keys.secretAccessKey.reveal(), keys.sessionToken.reveal(), keys.expires?.getUTCFullYear()], ["AK", "SK", "ST", 2030]);
  await assert.rejects(client.token(wat, oauth2("cloud")), { code: "credential_type" });
  await assert.rejects(client.keys(wat, "weather"), { code: "credential_type" });
  deputy.keep("strange", { type: "new", apiKey: "k" });
  await assert.rejects(client.token(wat, oauth2("strange")), { code: "answer_malformed" });
  await assert.rejects(client.token(wat, oauth2("no-such")), { code: "provider_not_found", status: 404, fix: "create it, or correct the name", requestId: "req_test" });
  await client.clear(wat, "calendar");
  await assert.rejects(client.token(wat, oauth2("calendar")), ConsentRequired);
});

test("the launch file becomes a workload access token", async () => {
  const tokenFile = join(await mkdtemp(join(tmpdir(), "deputy-")), "token");
  const client = deputy.client({ tokenFile });
  await assert.rejects(client.workloadToken(), { code: "launch_file_unreadable" });
  await writeFile(tokenFile, `${launchToken}\n`);
  assert.equal((await client.verify((await client.workloadToken()).token)).user, undefined);
  assert.deepEqual((await client.verify((await client.workloadToken(deputy.userToken(alice))).token)).user, alice);
  assert.equal((await client.verify((await client.workloadTokenFor({ issuer: "https://login.example", subject: "bob" })).token)).user?.subject, "bob");
  await assert.rejects(deputy.client().workloadToken(), { code: "environment_incomplete" });
  assert.throws(() => Client.fromEnvironment({ DEPUTY_URL: "http://x" }), { code: "environment_incomplete" });
  for (const url of ["", "ftp://x", "http://u:p@x", "http://x?y"]) assert.throws(() => new Client({ url }), { code: "url_invalid" }, url);
});

test("a request is repeated while Deputy cannot answer, four times at most", async () => {
  const client = deputy.client();
  deputy.grant(alice, "calendar");
  let refusals = 3;
  deputy.fail = () => (refusals-- > 0 ? 503 : 0);
  await client.token(deputy.mint(alice), oauth2("calendar"));
  assert.equal(deputy.requests.length, 4);
  deputy.fail = () => 503;
  await assert.rejects(client.token(deputy.mint(alice), oauth2("calendar")), { code: "injected", status: 503 });
  assert.equal(deputy.requests.length, 8);
  deputy.fail = () => 500;
  await assert.rejects(client.token(deputy.mint(alice), oauth2("calendar")), { status: 500 });
  assert.equal(deputy.requests.length, 9);
});

test("a redirect is not followed, and a large or strange answer is none", async () => {
  const answers: Record<string, () => [number, string, Record<string, string>]> = {
    redirect: () => [307, "", { location: `${deputy.url}/api/v1/credentials` }],
    large: () => [200, `"${"x".repeat((1 << 20) + 1)}"`, {}],
    text: () => [200, "<html>", {}],
    list: () => [200, "[1]", {}],
  };
  const strange = createServer((request, response) => {
    const [status, body, headers] = (answers[request.url?.split("/")[1] ?? ""] ?? (() => [404, "", {}]))();
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => strange.listen(0, "127.0.0.1", resolve));
  try {
    for (const [path, want] of [["redirect", "unexpected_answer"], ["large", "answer_malformed"], ["text", "answer_malformed"], ["list", "answer_malformed"]] as const) {
      const client = new Client({ url: `http://127.0.0.1:${(strange.address() as AddressInfo).port}/${path}`, sleep: async () => undefined });
      await assert.rejects(client.token(deputy.mint(alice), oauth2("calendar")), { code: want }, path);
    }
    assert.deepEqual(deputy.requests, []);
  } finally {
    strange.close();
    strange.closeAllConnections();
  }
});

test("the news of a consent is pushed", async () => {
  const client = deputy.client();
  const wat = deputy.mint(alice);
  for (const [play, want] of [
    [(id: string) => void deputy.agree(id), undefined],
    [(id: string) => deputy.decline(id), "access_denied"],
    [(id: string) => deputy.expire(id), "expired"],
    [(id: string) => deputy.step(id, "failed", "account_mismatch", "another account"), "account_mismatch"],
  ] as const) {
    await client.clear(wat, "calendar");
    const a = await link(client, wat);
    const waiting = client.wait(wat, a);
    deputy.step(a.id, "redirected");
    play(a.id);
    if (want === undefined) await waiting;
    else await assert.rejects(waiting, (e) => e instanceof AuthorizationFailed && e.code === want && e.provider === "calendar" && e.reason !== "");
  }
});

test("a wait survives a restart, a refusal of streams, and ends when its caller leaves", async () => {
  const client = deputy.client();
  const wat = deputy.mint(alice);
  const a = await link(client, wat);
  const opened = async (path: string, times: number): Promise<void> => {
    while (deputy.requests.filter((r) => r.endsWith(path)).length < times) await new Promise(setImmediate);
  };
  let waiting = client.wait(wat, a);
  await opened("/events", 1);
  deputy.hangUp();
  await opened("/events", 2);
  deputy.agree(a.id);
  await waiting;

  await client.clear(wat, "calendar");
  const b = await link(client, wat);
  deputy.fail = (_, path) => (path.endsWith("/events") ? 503 : 0);
  waiting = client.wait(wat, b);
  await opened(`/authorizations/${b.id}`, 1); // the long poll
  deputy.agree(b.id);
  await waiting;

  await client.clear(wat, "calendar");
  deputy.fail = () => 0;
  const leave = new AbortController();
  const c = await link(client, wat);
  waiting = client.wait(wat, c, { signal: leave.signal });
  await opened(`/${c.id}/events`, 1);
  leave.abort(new Error("left"));
  await assert.rejects(waiting, { message: "left" });
  await assert.rejects(client.wait(wat, { ...c, id: "auth_other" }), { code: "authorization_not_found" });
});

test("a wait ends when the authorization has", async () => {
  const client = deputy.client();
  const wat = deputy.mint(alice);
  const a = await link(client, wat);
  const past = { ...a, expiresAt: new Date(Date.now() - 60_000) };
  await assert.rejects(client.wait(wat, past), (e) => e instanceof AuthorizationFailed && e.state === "expired");
});
