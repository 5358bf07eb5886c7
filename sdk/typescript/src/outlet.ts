import type { IncomingMessage, ServerResponse } from "node:http";

import type { Authorization } from "./authorization.js";
import { AuthorizationFailed, ConsentRequired, errorCode, errorWords } from "./errors.js";

/** Where the answer to one prompt goes: a {@link Stream}, or {@link Whole}. */
export interface Outlet {
  say(text: string): void;
  /** Announces a function call; done its end. */
  call(id: string, name: string, args: unknown): void;
  done(id: string, name: string, response: Record<string, string>): void;
  finish(): void;
  fail(error: unknown): void;
  /** Whether the user sees what is said at once, so that he can be asked. */
  readonly live: boolean;
}

/** The types of errors that clients of such runtimes know, by status. */
const errorTypes: Record<number, string> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  413: "PayloadTooLarge",
  503: "ServiceUnavailable",
  504: "GatewayTimeout",
};

/** Answers with an error; more stands beside it. */
export function refuse(response: ServerResponse, status: number, code: string, message: string, more: Record<string, unknown> = {}): void {
  json(response, status, { error: { message, type: errorTypes[status] ?? "InternalError", code }, ...more });
}

/** Answers with JSON. */
export function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", "x-content-type-options": "nosniff" });
  response.end(`${JSON.stringify(value)}\n`);
}

/**
 * The answer as one JSON object, for programs that ask for no other: {"answer":"…"},
 * or an error with a status. Nobody looks at it while it comes into being, so a
 * question to the user ends the turn; the error has the link, and who asked can ask
 * again when the user has agreed.
 */
export class Whole implements Outlet {
  readonly live = false;
  #text = "";

  constructor(private readonly response: ServerResponse) {}

  say(text: string): void {
    this.#text += text;
  }

  call(): void {
    this.#text += paragraph(this.#text);
  }

  done(): void {
    // There is no place for it in the one object.
  }

  finish(): void {
    json(this.response, 200, { answer: this.#text });
  }

  fail(error: unknown): void {
    const need = consentIn(error);
    if (need) {
      const { id, provider, url } = need;
      refuse(this.response, 403, "authorization_required", errorWords(error), { authorization: { id, provider, url } });
      return;
    }
    const code = errorCode(error);
    const status = error instanceof AuthorizationFailed ? 403 : code === "timeout" ? 504 : 500;
    refuse(this.response, status, code, errorWords(error));
  }
}

/** The question that an error is about, or one of several. */
function consentIn(error: unknown): Authorization | undefined {
  if (error instanceof ConsentRequired) return error.authorization;
  if (error instanceof AggregateError) return error.errors.map(consentIn).find((found) => found !== undefined);
  return undefined;
}

/** What has to follow what was said so that the next word begins a paragraph. */
export function paragraph(said: string): string {
  return said === "" || said.endsWith("\n\n") ? "" : "\n\n";
}

/** Whether a request takes JSON and nothing else. Who takes events, or anything, gets events. */
export function wantsWhole(request: IncomingMessage): boolean {
  const media = (request.headersDistinct["accept"] ?? []).flatMap((line) => line.split(",")).map((part) => part.split(";", 1)[0]!.trim().toLowerCase());
  return media.includes("application/json") && !media.some((m) => m === "text/event-stream" || m === "text/*" || m === "*/*");
}
