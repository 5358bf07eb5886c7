import { text } from "./client.js";
import { DeputyError } from "./errors.js";
import { readEvents } from "./sse.js";
import { consentFunction } from "./stream.js";

/** Bounds the answer of another agent, in characters. */
const maxAnswer = 1 << 20;

/** What another agent asks its caller's user for, on the way. */
export interface Asked {
  id: string;
  key: string;
  authorization: { id: string; url: string };
}

/** What to do about what another agent says besides its answer. */
export interface Listener {
  /** Hands the question on to the user, and returns whether it did. */
  ask(asked: Asked): boolean;
  /** The question was decided. */
  decided(id: string, outcome: Record<string, string>): void;
}

type JSONObject = Record<string, unknown>;

function object(value: unknown): JSONObject {
  return typeof value === "object" && value !== null ? (value as JSONObject) : {};
}

/** Reads why an agent, or the ingress before it, did not answer. */
export async function notAnswered(response: Response): Promise<DeputyError> {
  const { status } = response;
  const requestId = response.headers.get("x-request-id") ?? "";
  let said: JSONObject = {};
  try {
    said = object(object(JSON.parse(response.body ? await readAll(response.body) : ""))["error"]);
  } catch {
    // Then it is somebody else's answer, of which the status says enough.
  }
  const code = text(said, "code") || "unexpected_answer";
  return new DeputyError({ status, code, message: text(said, "message") || `the other agent did not answer: ${status}`, requestId });
}

/** Returns all that another agent says: its events, or its one answer. */
export async function hear(response: Response, listener: Listener): Promise<string> {
  if (!response.body) return "";
  if (!(response.headers.get("content-type") ?? "").startsWith("text/event-stream")) return readAll(response.body);
  let said = ""; // in events that are whole
  let parts = ""; // since then; the next whole event says it once more
  const waiting = new Set<string>(); // for the user's consent
  for await (const { data } of readEvents(response.body, maxAnswer)) {
    const event = readEvent(data);
    if (event["error"] !== undefined) {
      const message = `the other agent could not answer: ${clip(String(event["error"]))}`;
      throw new DeputyError({ code: "agent_failed", message });
    }
    const list = object(event["content"])["parts"];
    for (const part of Array.isArray(list) ? list.map(object) : []) {
      const call = object(part["functionCall"]);
      const done = object(part["functionResponse"]);
      const words = text(part, "text");
      if (call["name"] === consentFunction) {
        const asked = readAsked(call);
        if (asked && listener.ask(asked)) waiting.add(asked.id);
      } else if (waiting.delete(text(done, "id"))) {
        listener.decided(text(done, "id"), outcome(object(done["response"])));
      } else if (event["partial"] === true) {
        parts += words;
      } else if (words) {
        parts = "";
        said += words;
      }
    }
    if (said.length + parts.length > maxAnswer) throw new DeputyError({ code: "answer_too_large", message: "the other agent says too much" });
  }
  return said + parts;
}

function readEvent(data: string): JSONObject {
  try {
    return object(JSON.parse(data));
  } catch {
    throw new DeputyError({ code: "answer_malformed", message: "the other agent's answer is not made of events" });
  }
}

function readAsked(call: JSONObject): Asked | undefined {
  const config = object(object(call["args"])["authConfig"]);
  const raw = object(config["rawAuthCredential"]);
  const id = text(call, "id");
  if (id.length > 200) return undefined;
  return { id, key: clip(text(config, "credentialKey")), authorization: { id: clip(text(raw, "resourceRef")), url: text(object(raw["oauth2"]), "authUri") } };
}

function outcome(response: JSONObject): Record<string, string> {
  const found = ["status", "code"].map((key) => [key, clip(text(response, key))] as const);
  return Object.fromEntries(found.filter(([, word]) => word !== ""));
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    if ((size += chunk.length) > maxAnswer) throw new DeputyError({ code: "answer_too_large", message: "the other agent says too much" });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Bounds what another agent says, for a line of its own. */
export function clip(s: string): string {
  return s.length <= 500 ? s : `${s.slice(0, 500)}…`;
}
