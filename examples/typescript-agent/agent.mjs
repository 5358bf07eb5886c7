#!/usr/bin/env node
// An agent that reads a user's Feishu document, in TypeScript's dialect of JavaScript: `npx tsc --noEmit -p .` checks it.
// @ts-check
import { Agent, CredentialRefused, DeputyError, oauth2, object, string, tool } from "@deputy-id/sdk";

const base = process.env["FEISHU_API_BASE"] ?? "https://open.feishu.cn";
const feishu = oauth2(process.env["FEISHU_CREDENTIAL_PROVIDER"] ?? "feishu_oauth", "docx:document:readonly").at(new URL(base).origin);

/** Feishu's codes for a token that it does not take (any more). */
const refused = [99991663, 99991668, 99991677];

const read = tool({
  name: "read_document",
  description: "Reads the text of a Feishu document.",
  input: object({ id: string("the document's id, the last part of its link") }),
  needs: [feishu],
  async run(call, { id }) {
    const response = await call.fetch(`${base}/open-apis/docx/v1/documents/${encodeURIComponent(id)}/raw_content`);
    const answer = /** @type {{ code: number, data: { content: string } }} */ (await response.json());
    if (refused.includes(answer.code)) throw new CredentialRefused(`Feishu: ${answer.code}`);
    if (answer.code !== 0) {
      throw new DeputyError({ code: "document_unreadable", message: `Feishu does not show this document to you (${answer.code})` });
    }
    return answer.data.content;
  },
});

await new Agent({
  name: "typescript-agent",
  tools: [read],
  async respond(turn) {
    const id = /\/docx\/([A-Za-z0-9]+)/.exec(turn.prompt)?.[1];
    if (!id) return turn.say("Give me the link of a document, and I say how it begins.");
    const text = String(await turn.call("read_document", { id }));
    turn.say(`It begins: ${text.split("\n")[0]}`);
  },
}).serve();
