import type { Authorization, State } from "./authorization.js";

/** What an {@link DeputyError} is made of. */
export interface Refusal {
  /** Stable, for programs: "provider_not_found". */
  code: string;
  /** What happened, in words for people. */
  message: string;
  /** What to do about it. */
  fix?: string | undefined;
  /** HTTP status; 0 when the refusal is not from the network. */
  status?: number | undefined;
  /** The field or setting that was wrong: "userToken". */
  source?: string | undefined;
  /** To find the request in Deputy's log. */
  requestId?: string | undefined;
  /** How long Deputy wants to be left alone, in milliseconds. Short waits are waited by the SDK itself. */
  retryAfter?: number | undefined;
  /** What caused it. It must hold no secret. */
  cause?: unknown;
}

/**
 * A refusal by Deputy, or by this package in its place. Its words are written
 * for people and hold no secret.
 */
export class DeputyError extends Error {
  override readonly name = "DeputyError";
  readonly code: string;
  readonly reason: string;
  readonly fix: string;
  readonly status: number;
  readonly source: string;
  readonly requestId: string;
  readonly retryAfter: number;

  constructor(refusal: Refusal) {
    const { code, message, fix = "", status = 0, source = "", requestId = "", retryAfter = 0 } = refusal;
    super(
      `deputy: ${message}${fix && `; ${fix}`} (${code}${requestId && `, request ${requestId}`})`,
      refusal.cause === undefined ? undefined : { cause: refusal.cause },
    );
    this.code = code;
    this.reason = message;
    this.fix = fix;
    this.status = status;
    this.source = source;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/**
 * What a tool throws when the third party refused the credential in a way that
 * only the tool can see, such as an error code in a body. The SDK then gets a
 * fresh credential, asking the user again if it must, and runs that tool call
 * once more. (A plain 401 needs no help from the tool.)
 */
export class CredentialRefused extends Error {
  override readonly name = "CredentialRefused";
}

/**
 * The user must agree first. {@link Client.token} throws it; agents see it only when
 * they answer a program that takes no stream, since else the SDK shows the link and
 * waits. Its message does not show the link, which is for the user only.
 */
export class ConsentRequired extends Error {
  override readonly name = "ConsentRequired";

  constructor(readonly authorization: Authorization) {
    super(`deputy: the user has to authorize ${authorization.provider} first (authorization_required)`);
  }
}

/** The user was asked, and no credential came of it. */
export class AuthorizationFailed extends Error {
  override readonly name = "AuthorizationFailed";
  readonly provider: string;
  /** Of the authorization. */
  readonly id: string;
  /** "failed" or "expired". */
  readonly state: State;
  /** Stable, for programs: "access_denied". */
  readonly code: string;
  /** The reason in words, for the user; never empty. */
  readonly reason: string;

  constructor(a: Authorization) {
    const code = a.reason || a.state;
    const reason = a.message || inWords(a.state, code);
    super(`deputy: authorization of ${a.provider} ${a.state}: ${reason} (${code})`);
    this.provider = a.provider;
    this.id = a.id;
    this.state = a.state;
    this.code = code;
    this.reason = reason;
  }
}

function inWords(state: State, code: string): string {
  if (state === "expired") return "the link was not used in time";
  return code === "access_denied" ? "access was declined" : "the third party did not grant access";
}

/** The stable code of an error, for a stream that a program reads. */
export function errorCode(error: unknown): string {
  if (error instanceof AggregateError) return errorCode(error.errors[0]);
  if (error instanceof ConsentRequired) return "authorization_required";
  if (error instanceof AuthorizationFailed || error instanceof DeputyError) return error.code;
  if (error instanceof CredentialRefused) return "credential_refused";
  if (error instanceof Error && error.name === "TimeoutError") return "timeout";
  if (error instanceof Error && error.name === "AbortError") return "canceled";
  return "failed";
}

/**
 * What a stranger may read of an error: the words of errors made for people, and
 * of others only that they happened.
 */
export function errorWords(error: unknown): string {
  if (error instanceof AggregateError) return errorWords(error.errors[0]);
  if (error instanceof ConsentRequired) return "the user has to agree first";
  if (error instanceof AuthorizationFailed) return error.reason;
  if (error instanceof DeputyError) return error.fix ? `${error.reason}; ${error.fix}` : error.reason;
  switch (errorCode(error)) {
    case "timeout":
      return "the request took too long";
    case "canceled":
      return "the request was cancelled";
    default:
      return "the agent could not finish this request";
  }
}
