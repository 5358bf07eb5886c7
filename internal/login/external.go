package login

import (
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/userpool"
)

// ExternalCookie names the cookie of a browser that is away at an external
// identity provider, to log in or to link an account.
func ExternalCookie(pool userpool.Pool) string { return "idp-" + pool.Name }

// ExternalFrom names the cookie that says by which external identity provider
// a browser logged in. It proves nothing: it only decides where a logout goes on.
func ExternalFrom(pool userpool.Pool) string { return "idp-from-" + pool.Name }

// ExternalName is what people read as the name of an external identity provider:
// its title, else what its type is called.
func ExternalName(p idp.Provider) browser.Text {
	if p.Title == "" {
		switch p.Type {
		case idp.Feishu:
			return browser.Text{EN: "Feishu", ZH: "飞书"}
		case idp.Lark:
			return browser.Text{EN: "Lark", ZH: "Lark"}
		case idp.GitHub:
			return browser.Text{EN: "GitHub", ZH: "GitHub"}
		case idp.Google:
			return browser.Text{EN: "Google", ZH: "Google"}
		}
	}
	return browser.Text{EN: p.Label(), ZH: p.Label()}
}
