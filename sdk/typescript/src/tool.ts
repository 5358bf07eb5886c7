import type { AccessToken, Keys } from "./client.js";
import type { Credential } from "./credential.js";
import { DeputyError } from "./errors.js";
import type { User } from "./jwt.js";
import { object, type JSONSchema, type Shape } from "./schema.js";

/** What model interfaces accept as the name of a function. */
const toolName = /^[a-zA-Z0-9_-]{1,64}$/;
/** Bounds a tool's arguments, in characters. */
const maxInput = 64 << 10;

/**
 * Names a conversation. The id is the client's own choice, so it means something
 * only together with the user, who is verified: use all of it as a key.
 */
export interface Session {
  readonly user: User;
  /** May be empty. */
  readonly id: string;
}

/** Sends requests as the global fetch does; a body that is a stream cannot be sent twice. */
export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** What a tool function has besides its input. */
export interface Call {
  /**
   * Sends requests to the origins of the tool's credentials, each with the user's
   * credential for it, and to nowhere else. The first request may wait minutes for
   * the user to agree. A redirect to another origin is not followed.
   */
  readonly fetch: Fetch;
  /** Who is asking, and in which conversation. */
  readonly session: Session;
  /** @internal Returns a credential itself; see {@link tokenTool}. */
  token(credential: Credential): Promise<AccessToken>;
  /** Aborted when the user goes away or the turn has lasted too long. */
  readonly signal: AbortSignal;
  /** Withdraws this agent's permission to use the user's credential. The next use asks the user again. */
  clear(credential: Credential): Promise<void>;
  /** Returns temporary keys from the provider of that name, of type sts; see {@link Client.keys}. */
  keys(provider: string): Promise<Keys>;
}

/** How a tool is declared. */
export interface ToolOptions<In> {
  /** Letters, digits, - and _; at most 64. */
  name: string;
  /** What it does, for a language model. */
  description: string;
  /** The shape of its arguments, made with {@link object}. Left out: there are none. */
  input?: Shape<In>;
  /** The credentials it needs. */
  needs?: Credential[];
  /**
   * Does it. What it returns is encoded as JSON. It runs once per call; the
   * exception is {@link CredentialRefused}. Its errors are shown to the model, so
   * they should say what to do.
   */
  run(call: Call, input: In): unknown;
}

/** One thing that an agent can do. Make it with {@link tool}. */
export interface Tool {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the input, for a language model. */
  readonly parameters: JSONSchema;
  readonly needs: readonly Credential[];
  /** The credentials by origin. */
  readonly origins: ReadonlyMap<string, Credential>;
  run(call: Call, input: unknown): Promise<unknown>;
}

/**
 * Where each of these credentials may be sent, by origin; throws a {@link DeputyError}
 * if one may be sent nowhere, or two are for one origin.
 */
export function bindOrigins(credentials: readonly Credential[], handed?: Credential): Map<string, Credential> {
  const origins = new Map<string, Credential>();
  for (const credential of credentials) {
    if (credential !== handed || credential.origins.length > 0) credential.check();
    for (const o of credential.origins) {
      const origin = new URL(o).origin;
      const other = origins.get(origin);
      if (other && other.key !== credential.key) {
        throw new DeputyError({ code: "credential_invalid", message: `two credentials are for ${o}`, fix: "make a tool for each, or name other origins" });
      }
      origins.set(origin, credential);
    }
  }
  return origins;
}

/** Makes a function into a tool; throws a {@link DeputyError} if its declaration is wrong. */
export function tool<In = Record<never, never>>(options: ToolOptions<In>): Tool {
  return make(options);
}

/** How a tool is declared whose function is handed a credential. */
export interface TokenToolOptions<In> extends Omit<ToolOptions<In>, "run"> {
  /** The credential that run is handed. Where it goes is run's responsibility; it needs no origins. */
  credential: Credential;
  /** Does it, with the credential; see {@link ToolOptions.run}. */
  run(call: Call, token: AccessToken, input: In): unknown;
}

/**
 * {@link tool} for libraries that take a token and have a client of their own: the
 * function is handed the credential as a parameter, when there is one.
 */
export function tokenTool<In = Record<never, never>>({ credential, run, ...options }: TokenToolOptions<In>): Tool {
  if (!credential.provider) credential.check();
  const needs = [credential, ...(options.needs ?? [])];
  return make<In>({ ...options, needs, run: async (call, input) => run(call, await call.token(credential), input) }, credential);
}

function make<In>(options: ToolOptions<In>, handed?: Credential): Tool {
  const { name, description, needs = [], run } = options;
  const input = options.input ?? (object({}) as Shape<unknown> as Shape<In>);
  const bad = (message: string): DeputyError => new DeputyError({ code: "tool_invalid", message: `tool "${name}": ${message}` });
  if (!toolName.test(name)) throw bad(`the name must match ${toolName.source}`);
  if (input.schema.type !== "object") throw bad("the input is no object");
  const origins = bindOrigins(needs, handed);
  return {
    name,
    description,
    parameters: input.schema,
    needs,
    origins,
    async run(call, given) {
      if ((JSON.stringify(given)?.length ?? 0) > maxInput) {
        const message = `the arguments are larger than ${maxInput} characters`;
        throw new DeputyError({ code: "tool_input_invalid", message, fix: "follow the tool's parameters" });
      }
      return run(call, input.read(given, ""));
    },
  };
}
