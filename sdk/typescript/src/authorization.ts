/** A state of an {@link Authorization}; the last three are final. */
export type State = "pending" | "redirected" | "exchanging" | "completed" | "failed" | "expired";

/** One time that a user is asked. */
export interface Authorization {
  id: string;
  state: State;
  /** Stable code, when it failed; else empty. */
  reason: string;
  /** The reason in words. */
  message: string;
  provider: string;
  scopes: string[];
  /** The link, for that user only. */
  url: string;
  /** Undefined when it does not say when it ends. */
  expiresAt: Date | undefined;
}

/** Whether nothing follows a state. */
export function isFinal(state: State): boolean {
  return state === "completed" || state === "failed" || state === "expired";
}

const states: readonly string[] = ["pending", "redirected", "exchanging", "completed", "failed", "expired"];

/** Reads an authorization from Deputy's JSON; undefined if it is none. */
export function readAuthorization(json: unknown): Authorization | undefined {
  if (typeof json !== "object" || json === null) return undefined;
  const text = (key: string): string => {
    const value = (json as Record<string, unknown>)[key];
    return typeof value === "string" ? value : "";
  };
  const state = text("state");
  if (!states.includes(state)) return undefined;
  const scopes = (json as Record<string, unknown>)["scopes"];
  const expiresAt = new Date(text("expiresAt"));
  return {
    id: text("id"),
    state: state as State,
    reason: text("reason"),
    message: text("message"),
    provider: text("provider"),
    scopes: Array.isArray(scopes) ? scopes.filter((s) => typeof s === "string") : [],
    url: text("url"),
    expiresAt: Number.isNaN(expiresAt.getTime()) ? undefined : expiresAt,
  };
}
