import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";

import type { Authorization } from "./authorization.js";
import { errorCode, errorWords } from "./errors.js";
import { paragraph, type Outlet } from "./outlet.js";

/** The name under which clients of the Agent Development Kit look for an authorization link. */
export const consentFunction = "adk_request_credential";

/** How long the reader of the stream may read nothing while there is something to read, in milliseconds. */
const writeTimeout = 30_000;

type Part =
  | { text: string }
  | { functionCall: { id: string; name: string; args: unknown } }
  | { functionResponse: { id: string; name: string; response: Record<string, string> } };

/**
 * Writes the answer to one prompt as events of the Agent Development Kit. Its
 * readers refuse keys that they do not know, and read content.parts of every event.
 */
export class Stream implements Outlet {
  readonly live = true;
  #said = "";
  #stalled: NodeJS.Timeout | undefined;
  readonly #invocationId = `e-${randomUUID()}`;

  constructor(
    private readonly response: ServerResponse,
    private readonly author: string,
    private readonly now: () => number,
    private readonly gone: () => void,
  ) {}

  /** Sends the header. Proxies are told not to hold anything back. */
  begin(): void {
    this.response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
      "x-content-type-options": "nosniff",
    });
    this.response.flushHeaders();
  }

  say(text: string): void {
    if (text === "") return;
    this.#said += text;
    this.#event("model", { text }, { partial: true });
  }

  /** Repeats all that was said, in the one event that is not partial. */
  finish(): void {
    this.#event("model", { text: this.#said }, { partial: false, turnComplete: true });
    this.#end();
  }

  /**
   * Announces a function call. Readers take what was said before it and what is
   * said after it for two runs of text; the blank line makes that so for those,
   * too, who only read the final event.
   */
  call(id: string, name: string, args: unknown): void {
    this.say(paragraph(this.#said));
    const consent = name === consentFunction;
    this.#event(consent ? "user" : "model", { functionCall: { id, name, args } }, consent ? { longRunningToolIds: [id] } : {}); // as ADK has it
  }

  done(id: string, name: string, response: Record<string, string>): void {
    this.#event("user", { functionResponse: { id, name, response } }, {});
  }

  /** Writes an error in the shape that clients of such streams know. */
  fail(error: unknown): void {
    this.#write({ error: errorWords(error), error_type: errorCode(error), message: "An error occurred during streaming" });
    this.#end();
  }

  #event(role: string, part: Part, more: Record<string, unknown>): void {
    this.#write({
      content: { role, parts: [part] },
      ...more,
      invocationId: this.#invocationId,
      author: this.author,
      actions: {},
      id: randomUUID(),
      timestamp: this.now() / 1000,
    });
  }

  #write(event: unknown): void {
    if (this.response.destroyed || this.response.writableEnded) return;
    const flowing = this.response.write(`data: ${JSON.stringify(event)}\n\n`);
    if (flowing || this.#stalled) return;
    // A reader that stopped reading must not hold the turn for ever.
    this.#stalled = setTimeout(() => {
      this.response.destroy();
      this.gone();
    }, writeTimeout);
    this.response.once("drain", () => {
      clearTimeout(this.#stalled);
      this.#stalled = undefined;
    });
  }

  #end(): void {
    this.response.end(() => clearTimeout(this.#stalled));
  }
}

/** The arguments of the call that shows a link. The empty endpoints are ADK's own spelling of "the server knows". */
export function consentArgs(callId: string, credentialKey: string, a: Pick<Authorization, "id" | "url">): unknown {
  // The authorization's id is a name, and no key to anything.
  const credential = { authType: "oauth2", resourceRef: a.id, oauth2: { authUri: a.url } };
  const flow = { authorizationUrl: "__EMPTY__", tokenUrl: "__EMPTY__", scopes: {} };
  return {
    functionCallId: callId,
    authConfig: {
      authScheme: { type: "oauth2", flows: { authorizationCode: flow } },
      rawAuthCredential: credential,
      exchangedAuthCredential: credential,
      credentialKey,
    },
  };
}
