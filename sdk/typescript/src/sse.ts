import { DeputyError } from "./errors.js";

/** Bounds one server-sent event of Deputy, in characters. */
const maxEventSize = 64 << 10;

/** One event of a stream; without a name it is "message". */
export interface ServerEvent {
  name: string;
  data: string;
}

/**
 * Reads server-sent events (WHATWG HTML, section 9.2.6). Ids and retry times have
 * no use here and are passed over; so is an event that was not finished when the
 * stream ended.
 */
export async function* readEvents(chunks: AsyncIterable<Uint8Array>, limit = maxEventSize): AsyncGenerator<ServerEvent, void> {
  let name = "";
  let data: string[] = [];
  let size = 0;
  for await (const line of lines(chunks, limit)) {
    if (line === "") {
      if (data.length > 0) yield { name: name || "message", data: data.join("\n") };
      name = "";
      data = [];
      size = 0;
      continue;
    }
    const colon = line.indexOf(":");
    if (colon === 0) continue; // a comment: the heartbeat
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    size += line.length + 1;
    if (size > limit) throw tooLarge();
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
}

/** Splits at LF, CR or CRLF, and never waits for the character after a CR. */
async function* lines(chunks: AsyncIterable<Uint8Array>, limit: number): AsyncGenerator<string, void> {
  const decoder = new TextDecoder(); // takes a leading byte order mark away
  let rest = "";
  let afterCR = false;
  for await (const chunk of chunks) {
    let text = decoder.decode(chunk, { stream: true });
    if (text === "") continue;
    if (afterCR && text.startsWith("\n")) text = text.slice(1);
    afterCR = text.endsWith("\r");
    const parts = (rest + text).split(/\r\n|\r|\n/);
    rest = parts.pop() ?? "";
    yield* parts;
    if (rest.length > limit) throw tooLarge();
  }
}

function tooLarge(): DeputyError {
  return new DeputyError({ code: "answer_malformed", message: "a server-sent event is too large" });
}
