import { createPublicKey, verify, type KeyObject } from "node:crypto";

import { DeputyError } from "./errors.js";

/** No other token of Deputy has this type, so none can pass for one. */
const tokenType = "wat+jwt";
const maxTokenSize = 16 << 10;
const maxSkew = 30_000;
const maxChain = 8;
const maxKeys = 64;

/** The person an agent acts for: an issuer and a subject there. Only both together name a person. */
export interface User {
  readonly issuer: string;
  readonly subject: string;
}

/** What a workload access token proves. */
export interface Identity {
  /** Undefined when the workload acts for itself. */
  user: User | undefined;
  /** SPIFFE ID of the workload that the token was minted for. */
  workload: string;
  /** The workloads that called it on the user's behalf, nearest first (RFC 8693, section 4.1). */
  chain: string[];
  expires: Date;
}

/** A compact JSON Web Token (RFC 7515, section 3.1), taken apart and not yet believed. */
export interface Token {
  keyId: string;
  claims: Record<string, unknown>;
  signed: string;
  signature: Buffer;
}

const bad = (code: string, message: string): DeputyError => new DeputyError({ code, message });
const malformed = (): DeputyError => bad("token_malformed", "the token is not a JWT");

/**
 * Takes a token apart and checks that its header is one that this package can
 * honour. base64url is read strictly: each token has one spelling.
 */
export function parse(token: string): Token {
  const parts = token.split(".");
  const [head, body, tail] = parts;
  if (token.length > maxTokenSize || parts.length !== 3 || !head || !body || !tail) throw malformed();
  const header = object(decode(head));
  const claims = object(decode(body));
  if (header["typ"] !== tokenType) throw bad("token_type", "the token is not a workload access token");
  if (header["alg"] !== "ES256") throw bad("token_algorithm", "the token is not signed with ES256");
  // RFC 7515, section 4.1.11: not understood, so not accepted.
  if ("crit" in header) throw bad("token_algorithm", "the token has critical headers that are not understood");
  const keyId = header["kid"];
  if (typeof keyId !== "string" || keyId === "") throw bad("token_unknown_key", "the token does not name its key");
  return { keyId, claims, signed: `${head}.${body}`, signature: decode(tail) };
}

function decode(part: string): Buffer {
  const bytes = Buffer.from(part, "base64url");
  if (bytes.toString("base64url") !== part) throw malformed(); // Node skips what it does not know
  return bytes;
}

function object(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // The parser's own error would show a piece of the token.
  }
  throw malformed();
}

/** Whether key made the token's signature (RFC 7518, section 3.4). */
export function signedBy(token: Token, key: KeyObject): boolean {
  return (
    token.signature.length === 64 &&
    verify("sha256", Buffer.from(token.signed), { key, dsaEncoding: "ieee-p1363" }, token.signature)
  );
}

/** Checks the claims of a token whose signature is good. now is in milliseconds. */
export function identity(token: Token, issuer: string, now: number): Identity {
  const c = token.claims;
  const { sub, exp, iat, aud } = c;
  if (typeof sub !== "string" || sub === "" || !isTime(exp) || !isTime(iat)) {
    throw bad("token_malformed", "the token's claims are incomplete");
  }
  if (c["iss"] !== issuer) throw bad("token_issuer", `the token is not from ${issuer}`);
  const audience: unknown[] = Array.isArray(aud) ? aud : [aud];
  if (audience.length !== 1 || audience[0] !== issuer) throw bad("token_audience", "the token is for somebody else");
  if (now >= exp * 1000 + maxSkew) throw bad("token_expired", "the token has expired");
  if (now + maxSkew < iat * 1000) {
    throw bad("token_not_yet_valid", "the token is from the future; compare the clocks of both machines");
  }
  const expires = new Date(Math.floor(exp) * 1000);
  const who = record(c["sub_id"]); // RFC 9493, section 3.2.4
  let actor = record(c["act"]);
  if (c["sub_id"] === undefined && c["act"] === undefined) return { user: undefined, workload: sub, chain: [], expires };
  const userIssuer = who?.["iss"];
  const workload = actor?.["sub"];
  if (who?.["format"] !== "iss_sub" || who["sub"] !== sub || typeof userIssuer !== "string" || userIssuer === "" || typeof workload !== "string") {
    throw bad("token_malformed", "the token does not say whom it acts for");
  }
  const chain: string[] = [];
  for (actor = record(actor?.["act"]); actor; actor = record(actor["act"])) {
    if (chain.length === maxChain || typeof actor["sub"] !== "string") {
      throw bad("token_malformed", "the token's delegation chain is too long, or broken");
    }
    chain.push(actor["sub"]);
  }
  return { user: { issuer: userIssuer, subject: sub }, workload, chain, expires };
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value < 2 ** 40;
}

/** Reads the P-256 signing keys of a JWK set (RFC 7517, section 5) and passes over all others. */
export function readKeys(json: unknown): Map<string, KeyObject> {
  const set = record(json)?.["keys"];
  if (!Array.isArray(set) || set.length > maxKeys) throw bad("keys_malformed", "Deputy's key set cannot be read");
  const keys = new Map<string, KeyObject>();
  for (const entry of set) {
    const jwk = record(entry);
    const { kty, crv, kid, use = "sig", alg = "ES256", x, y } = jwk ?? {};
    if (kty !== "EC" || crv !== "P-256" || typeof kid !== "string" || kid === "" || use !== "sig" || alg !== "ES256") continue;
    if (typeof x !== "string" || typeof y !== "string") continue;
    try {
      keys.set(kid, createPublicKey({ key: { kty, crv, x, y }, format: "jwk" }));
    } catch {
      // A key that is no point of the curve signs nothing.
    }
  }
  if (keys.size === 0) throw bad("keys_malformed", "Deputy's key set has no ES256 key");
  return keys;
}
