import { DeputyError } from "./errors.js";

/**
 * Declares what a tool needs: which provider's credential, with which scopes, for
 * which third party. It holds no secret.
 */
export class Credential {
  constructor(
    /** Name of the credential provider in Deputy. */
    readonly provider: string,
    /** Empty: the provider's own defaults. */
    readonly scopes: readonly string[] = [],
    /** Where the credential may be sent: "https://open.feishu.cn". */
    readonly origins: readonly string[] = [],
  ) {}

  /**
   * A copy that is sent to these origins, and to no others. An origin is a scheme
   * and a host, and a port if it is not the usual one; the scheme is https, or http
   * on loopback.
   */
  at(...origins: string[]): Credential {
    return new Credential(this.provider, this.scopes, [...this.origins, ...origins]);
  }

  /** What is asked for: two declarations with the same key share a token. */
  get key(): string {
    return JSON.stringify([this.provider, [...new Set(this.scopes)].sort()]);
  }

  /** Throws if the declaration is not one. */
  check(): void {
    const invalid = (message: string, fix: string): DeputyError => new DeputyError({ code: "credential_invalid", message, fix });
    if (!this.provider) throw invalid("a credential has no provider name", "name the credential provider in oauth2()");
    if (this.origins.length === 0) {
      throw invalid(`the credential of ${this.provider} may be sent nowhere`, 'say where with at("https://…")');
    }
    for (const origin of this.origins) {
      const u = URL.canParse(origin) ? new URL(origin) : undefined;
      if (!u || !u.host || u.username || u.password || u.pathname !== "/" || u.search || u.hash) {
        throw invalid(`the credential of ${this.provider} has an origin that is none`, 'an origin looks like "https://open.feishu.cn"');
      }
      if (!isProtected(u)) {
        throw invalid(`the credential of ${this.provider} would travel in clear text to ${u.host}`, "use https (http is for loopback only)");
      }
    }
  }
}

/** Declares a credential from the OAuth 2.0 provider of that name. Without scopes, those of the provider's configuration are asked for. */
export function oauth2(provider: string, ...scopes: string[]): Credential {
  return new Credential(provider, scopes);
}

/** Declares the key of the provider of that name, of type api_key. The operator who gave the key to Deputy decides which header carries it. */
export function apiKey(provider: string): Credential {
  return new Credential(provider);
}

/** Declares the user name and password of the provider of that name, of type basic (RFC 7617). */
export function basic(provider: string): Credential {
  return new Credential(provider);
}

/** Whether a credential that is sent to u is seen by nobody on the way. */
export function isProtected(u: URL): boolean {
  return u.protocol === "https:" || (u.protocol === "http:" && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(u.hostname));
}
