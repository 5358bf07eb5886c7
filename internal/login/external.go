package login

import "github.com/deputy-id/deputy/internal/userpool"

// ExternalCookie names the cookie of a browser that is away at an external
// identity provider, to log in or to link an account.
func ExternalCookie(pool userpool.Pool) string { return "idp-" + pool.Name }

// ExternalFrom names the cookie that says by which external identity provider
// a browser logged in. It proves nothing: it only decides where a logout goes on.
func ExternalFrom(pool userpool.Pool) string { return "idp-from-" + pool.Name }
