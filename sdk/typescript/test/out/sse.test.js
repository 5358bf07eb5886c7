import assert from "node:assert/strict";
import { test } from "node:test";
import { readEvents } from "../../dist/sse.js";
async function* chunks(...parts) {
    for (const part of parts)
        yield typeof part === "string" ? new TextEncoder().encode(part) : part;
}
async function read(...parts) {
    const events = [];
    for await (const event of readEvents(chunks(...parts)))
        events.push(event);
    return events;
}
test("events", async () => {
    assert.deepEqual(await read("data: a\n\n"), [{ name: "message", data: "a" }]);
    assert.deepEqual(await read("\ufeffevent: state\ndata:x\ndata:  y\n\n: beat\n\nevent: lost\n\ndata\n\nid: 1\nretry: 2\ndata: z"), [
        { name: "state", data: "x\n y" },
        { name: "message", data: "" },
    ]);
    assert.deepEqual(await read("data: a\r\rdata: b\r\n\r\n"), [{ name: "message", data: "a" }, { name: "message", data: "b" }]);
});
test("events that arrive in pieces", async () => {
    for (const ending of ["\n", "\r\n", "\r"]) {
        const whole = new TextEncoder().encode(["event: state", "data: 你好", "data: b", "", ": beat", "", "data: c", "", ""].join(ending));
        for (let cut = 0; cut <= whole.length; cut++) {
            for (const second of [cut, Math.min(cut + 1, whole.length)]) {
                const got = await read(whole.slice(0, cut), whole.slice(cut, second), whole.slice(second));
                assert.deepEqual(got, [{ name: "state", data: "你好\nb" }, { name: "message", data: "c" }], `${JSON.stringify(ending)} cut at ${cut}, ${second}`);
            }
        }
    }
});
test("events that do not end", async () => {
    const kilobyte = "x".repeat(1 << 10);
    await assert.rejects(read(...Array(70).fill(kilobyte)), { code: "answer_malformed" });
    await assert.rejects(read(...Array(70).fill(`data: ${kilobyte}\n`)), { code: "answer_malformed" });
    assert.equal((await read(...Array(100).fill(`: ${kilobyte}\n\n`), "data: a\n\n")).length, 1);
});
