import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { array, boolean, Credential, DeputyError, integer, object, oauth2, optional, Secret, string, tool } from "@deputy-id/sdk";

const code = (want: string) => (error: unknown): boolean => error instanceof DeputyError && error.code === want;

test("a secret does not print", () => {
  const s = new Secret("hunter2");
  const error = new DeputyError({ code: "x", message: `of ${s}` });
  for (const text of [String(s), `${s}`, JSON.stringify({ s }), inspect({ s }, { showHidden: true, depth: 9 }), error.message, JSON.stringify([...Object.entries(s)])]) {
    assert(!text.includes("hunter2"), text);
  }
  assert.equal(s.reveal(), "hunter2");
  assert(s.equals(new Secret("hunter2")));
  assert(!s.equals(new Secret("hunter3")));
  assert(!new Secret("").equals(new Secret("")));
});

test("a credential goes to origins that nobody listens to on the way", () => {
  for (const origin of ["https://open.feishu.cn", "https://open.feishu.cn/", "http://127.0.0.1:8000", "http://localhost", "http://[::1]:1"]) {
    oauth2("p").at(origin).check();
  }
  for (const origin of ["http://open.feishu.cn", "http://127.0.0.1.example.com", "https://a/b", "https://u:p@a", "https://a?b", "ftp://a", "a", "", "javascript:1"]) {
    assert.throws(() => oauth2("p").at(origin).check(), code("credential_invalid"), origin);
  }
  assert.throws(() => oauth2("p").check(), code("credential_invalid"));
  assert.throws(() => oauth2("").at("https://a").check(), code("credential_invalid"));
  assert.equal(new Credential("p", ["b", "a", "b"]).key, oauth2("p", "a", "b").key);
  assert.notEqual(oauth2("p", "a b").key, oauth2("p", "a", "b").key);
});

test("the input of a tool", async () => {
  const seen: unknown[] = [];
  const t = tool({
    name: "book",
    description: "Books a room.",
    input: object({
      room: string("which room"),
      seats: optional(integer()),
      guests: optional(array(object({ name: string(), vip: optional(boolean()) }))),
    }),
    run(_call, input) {
      const seats: number | undefined = input.seats; // the types follow the shape
      seen.push(input, seats);
      return input.room;
    },
  });
  assert.deepEqual(t.parameters, {
    type: "object",
    properties: {
      room: { type: "string", description: "which room" },
      seats: { type: "integer" },
      guests: {
        type: "array",
        items: { type: "object", properties: { name: { type: "string" }, vip: { type: "boolean" } }, required: ["name"], additionalProperties: false },
      },
    },
    required: ["room"],
    additionalProperties: false,
  });
  const call = undefined as never;
  assert.equal(await t.run(call, { room: "A", seats: 3, guests: [{ name: "Zhang" }] }), "A");
  assert.deepEqual(seen, [{ room: "A", seats: 3, guests: [{ name: "Zhang" }] }, 3]);
  for (const [input, words] of [
    [{}, 'the argument "room" is missing'],
    [{ room: null }, 'the argument "room" is missing'],
    [{ room: 1 }, 'the argument "room" must be a string'],
    [{ room: "A", seats: 1.5 }, 'the argument "seats" must be an integer'],
    [{ room: "A", guests: [{ name: "Zhang" }, { name: 1 }] }, 'the argument "guests[1].name" must be a string'],
    [{ room: "A", toString: 1 }, 'there is no argument "toString"'],
    [JSON.parse('{"room":"A","__proto__":{"admin":true}}'), 'there is no argument "__proto__"'],
    [[], "the arguments are not a JSON object"],
    ["A", "the arguments are not a JSON object"],
    [undefined, "the arguments are not a JSON object"],
    [{ room: "x".repeat(65 << 10) }, "the arguments are larger than 65536 characters"],
  ] as const) {
    await assert.rejects(t.run(call, input), (e) => e instanceof DeputyError && e.reason === words, words);
  }
});

test("the declaration of a tool", () => {
  const run = (): string => "";
  assert.throws(() => tool({ name: "a b", description: "", run }), code("tool_invalid"));
  assert.throws(() => tool({ name: "a", description: "", input: string(), run }), code("tool_invalid"));
  assert.throws(() => tool({ name: "a", description: "", needs: [oauth2("p")], run }), code("credential_invalid"));
  const two = [oauth2("p").at("https://a.example"), oauth2("q").at("https://A.example:443")];
  assert.throws(() => tool({ name: "a", description: "", needs: two, run }), code("credential_invalid"));
});
