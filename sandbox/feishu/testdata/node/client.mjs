// Drives a Feishu through the official Node SDK and prints one JSON object that
// says what the SDK made of each answer. Input: one JSON object on stdin.
import * as lark from '@larksuiteoapi/node-sdk';
import { text } from 'node:stream/consumers';

const input = JSON.parse(await text(process.stdin));
const silent = Object.fromEntries(['error', 'warn', 'info', 'debug', 'trace'].map((level) => [level, () => {}]));
const settings = {
  appId: input.appId,
  appSecret: input.appSecret,
  domain: input.base,
  disableTokenCache: true, // there are no tenant tokens here; every call names its user token
  logger: silent,
};
const client = new lark.Client({ ...settings, oauthBaseUrl: input.base });

// failure runs a call that must fail and returns how the SDK reports it.
async function failure(call) {
  try {
    await call();
  } catch (e) {
    if (e.response) {
      return { status: e.response.status, code: e.response.data.code, msg: e.response.data.msg, logId: !!e.response.data.error?.log_id };
    }
    return { name: e.name, status: e.statusCode, code: e.code, error: e.error, description: e.errorDescription, message: e.name === 'Error' ? e.message : undefined };
  }
  return { unexpected: 'success' };
}

const readDocument = (token, id) =>
  client.docx.document.rawContent({ path: { document_id: id } }, lark.withUserAccessToken(token));

const first = await client.accessToken.retrieveByAuthorizationCode({
  code: input.code, redirectUri: input.redirectUri, codeVerifier: input.codeVerifier,
});
const user = await client.authen.userInfo.get({}, lark.withUserAccessToken(first.accessToken));
const document = await readDocument(first.accessToken, input.ownDocument);
const second = await client.accessToken.refresh({ refreshToken: first.refreshToken });
const narrowed = await client.accessToken.refresh({ refreshToken: second.refreshToken, scope: 'docx:document:readonly' });

// The SDK has no helper for v2; its raw request is what its users fall back to.
const v2 = await client.request({
  method: 'POST',
  url: '/open-apis/authen/v2/oauth/token',
  data: {
    grant_type: 'authorization_code', client_id: input.appId, client_secret: input.appSecret,
    code: input.codeForV2, redirect_uri: input.redirectUri, code_verifier: input.codeVerifier,
  },
});

const describe = (t) => ({
  tokenType: t.tokenType, expiresIn: t.expiresIn, refreshTokenExpiresIn: t.refreshTokenExpiresIn, scope: t.scope,
  hasAccess: typeof t.accessToken === 'string', hasRefresh: typeof t.refreshToken === 'string',
});

console.log(JSON.stringify({
  exchange: describe(first),
  user: user.data,
  userCode: user.code,
  document: document.data.content,
  refresh: describe(second),
  rotated: second.refreshToken !== first.refreshToken && second.accessToken !== first.accessToken,
  narrowed: describe(narrowed),
  v2: { code: v2.code, tokenType: v2.token_type, scope: v2.scope, expiresIn: v2.expires_in },
  errors: {
    codeUsed: await failure(() => client.accessToken.retrieveByAuthorizationCode({ code: input.code, redirectUri: input.redirectUri })),
    codeUnknown: await failure(() => client.accessToken.retrieveByAuthorizationCode({ code: 'nonesuch' })),
    refreshUsed: await failure(() => client.accessToken.refresh({ refreshToken: first.refreshToken })),
    refreshUnknown: await failure(() => client.accessToken.refresh({ refreshToken: 'nonesuch' })),
    wrongSecret: await failure(() => new lark.Client({ ...settings, appSecret: 'wrong', oauthBaseUrl: input.base })
      .accessToken.refresh({ refreshToken: first.refreshToken })),
    noOauthBaseUrl: await failure(() => new lark.Client(settings).accessToken.refresh({ refreshToken: 'x' })),
    noToken: await failure(() => client.authen.userInfo.get({})),
    badToken: await failure(() => readDocument('eyJnonesuch', input.ownDocument)),
    noScope: await failure(() => readDocument(input.tokenWithoutScope, input.ownDocument)),
    foreignDocument: await failure(() => readDocument(first.accessToken, input.foreignDocument)),
    noDocument: await failure(() => readDocument(first.accessToken, 'NoSuchDocument0000000000000')),
  },
}));
