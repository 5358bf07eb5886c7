// Package feishu is a real small Feishu (OAuth, documents), run by `deputy sandbox`.
//
// It is a third party in every respect: it imports nothing of Deputy, speaks
// HTTP only, and is as picky as the original. A person can log in and agree in a
// browser; a program can drive the same forms. The official Node SDK runs against
// it in this package's tests.
//
// # Where the wire shapes come from
//
// Codes, HTTP statuses and descriptions of the token endpoint are those of
// Feishu's "get user_access_token" and "refresh user_access_token" pages; the
// docx codes those of "get document raw content"; those of the app token are what
// clients of the live service report. Three things were seen live by
// others and differ from what one would guess, so they are kept: the code or
// refresh token is looked up before the client is authenticated; an
// Authorization header without "Bearer " counts as no token at all; and a wrong
// path or method is a plain-text 404, not JSON.
//
// # Where it is not Feishu
//
// Only user tokens open anything (app tokens are handed out, and no endpoint
// takes them; there are no v1 OIDC endpoints, no client_assertion, no device flow). Consent is asked every time. Access tokens
// look like JWTs, are as long as the real ones and carry nothing. State lives in
// memory and is bounded: when a table is full the oldest entry is forgotten, and
// a forgotten token is answered like one that never existed.
package feishu
