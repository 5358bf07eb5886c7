import type { AccessToken } from "./client.js";
import { isProtected, type Credential } from "./credential.js";
import { DeputyError } from "./errors.js";
import type { Fetch } from "./tool.js";
import { anySignal } from "./time.js";

/** Bounds redirects within one origin. */
const maxRedirects = 5;
/** How long a third party may take to begin its answer, in milliseconds; the time in which the user decides is not in it. */
const patience = 30_000;

/** Gives out the credential of one declaration during one turn. */
export interface Holder {
  /** Returns the credential; it may wait for the user. */
  token(credential: Credential): Promise<AccessToken>;
  /** Returns the credential that Deputy has now, because refused was refused. */
  renew(credential: Credential, refused: AccessToken): Promise<AccessToken>;
}

/**
 * Returns a fetch that puts the credential of an origin on each request to that
 * origin, and repeats a request once that was answered 401, if Deputy has another
 * token by now. signal ends all of its requests.
 */
export function credentialFetch(base: typeof globalThis.fetch, origins: ReadonlyMap<string, Credential>, holder: Holder, signal: AbortSignal): Fetch {
  return async (url, init = {}) => {
    let target = new URL(url);
    for (let hop = 0; ; hop++) {
      const response = await sendWithRenewal(target, init);
      const next = redirection(response, target, init);
      if (!next || hop === maxRedirects) return response;
      await response.body?.cancel();
      target = next;
    }
  };

  async function sendWithRenewal(url: URL, init: RequestInit): Promise<Response> {
    const credential = origins.get(url.origin);
    if (!credential || !isProtected(url)) {
      const fix = "declare the origin with at(), or use the global fetch";
      throw new DeputyError({ code: "origin_not_declared", message: `no credential of this tool is for ${url.host}`, fix });
    }
    const token = await holder.token(credential);
    const response = await send(url, init, token);
    if (response.status !== 401 || isStream(init.body)) return response;
    const fresh = await holder.renew(credential, token);
    if (fresh.value.equals(token.value)) return response; // it is not the token's age; the tool knows best what 401 means here
    await response.body?.cancel();
    return send(url, init, fresh);
  }

  async function send(url: URL, init: RequestInit, token: AccessToken): Promise<Response> {
    const headers = new Headers(init.headers);
    put(token, headers);
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new DOMException("the third party does not answer", "TimeoutError")), patience);
    try {
      return await base(url, { ...init, headers, redirect: "manual", signal: anySignal(signal, init.signal ?? undefined, late.signal) });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Puts the token on a request. */
function put(t: AccessToken, headers: Headers): void {
  if (t.type === "Basic") {
    headers.set("authorization", `Basic ${Buffer.from(`${t.user}:${t.value.reveal()}`).toString("base64")}`);
  } else if (t.type) {
    headers.set("authorization", `${t.type} ${t.value.reveal()}`);
  } else {
    headers.set(t.header, t.prefix + t.value.reveal());
  }
}

/**
 * Where a redirect leads, if it is one to follow: within the origin, and of a
 * request that only reads. Others are handed to the tool as they are, because what
 * it reads there, or does twice, is its own decision.
 */
function redirection(response: Response, from: URL, init: RequestInit): URL | undefined {
  const location = response.headers.get("location");
  const reads = ["GET", "HEAD"].includes((init.method ?? "GET").toUpperCase());
  if (!location || !reads || init.redirect === "manual" || ![301, 302, 303, 307, 308].includes(response.status)) return undefined;
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  return to?.origin === from.origin ? to : undefined;
}

/** Whether a body can be sent once only. */
function isStream(body: RequestInit["body"]): boolean {
  return typeof body === "object" && body !== null && (body instanceof ReadableStream || Symbol.asyncIterator in body);
}
