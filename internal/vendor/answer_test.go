package vendor

import (
	"testing"
	"time"
)

// FuzzTokenAnswer: whatever a vendor answers, tokens come out of it only if they
// can be put into a header, and times only within the bounds.
func FuzzTokenAnswer(f *testing.F) {
	for _, s := range []string{
		`{"code":0,"access_token":"a","expires_in":7200,"refresh_token":"r","refresh_token_expires_in":604800,"scope":"a b","token_type":"Bearer"}`,
		`{"code":20037,"error":"invalid_grant","error_description":"x"}`,
		`{"access_token":"a","expires_in":"1e9"}`,
		`{"data":{"data":{}}}`, `[]`, `null`, `<html>`,
	} {
		f.Add([]byte(s))
	}
	c, err := Builtin()
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, b []byte) {
		a := parseAnswer(b)
		for _, e := range c.entries {
			e = e.withDefaults()
			got, ok := a.tokens(e.Token, now)
			if ok != !got.Access.Empty() {
				t.Fatalf("%q: %v with token %v", b, ok, !got.Access.Empty())
			}
			for _, token := range [][]byte{got.Access.Reveal(), got.Refresh.Reveal()} {
				for _, c := range token {
					if c <= ' ' || c > '~' {
						t.Fatalf("%q: a token has the byte %#x", b, c)
					}
				}
			}
			for _, at := range []time.Time{got.ExpiresAt, got.RefreshExpiresAt} {
				if !at.IsZero() && (!at.After(now) || at.After(now.Add(maxLifetime))) {
					t.Fatalf("%q: expires at %v", b, at)
				}
			}
			code, word, failed := a.failed(e.Errors)
			if failure := e.failure(StepRefresh, 400, code, word, "", ""); failed && failure.Explanation == "" {
				t.Fatalf("%q: a failure without explanation", b)
			}
		}
	})
}

// FuzzParse: what a catalogue file becomes is valid, or nothing is read of it.
// It builds on one entry, since parsing many takes the time of what is tried.
func FuzzParse(f *testing.F) {
	below, err := Parse([]byte("vendors:\n  base:\n    name: {en: a, zh: b}\n    token: {auth: post, body: form, accessToken: t, params: {a: b}}\n" +
		"    rotation: none\n    console: {en: a, zh: b}\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("vendors:\n  x: &x {name: {en: a, zh: b}}\n  y: {<<: *x}\n"))
	f.Add([]byte("vendors:\n  x: {extends: base, token: {names: {code: c}}, header: {A: b}}\n  y: {extends: base, endpoints: {token: '{base}/t'}, test: {url: '{api}/x'}}\n"))
	f.Add([]byte("codes:\n  - {codes: [a], at: [api], class: retry, what: {en: a, zh: b}, fix: {en: a, zh: b}}\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := below.With(b)
		if err != nil {
			return
		}
		for _, id := range c.IDs() {
			if e, err := c.Lookup(id); err != nil || e.check() != nil || e.ID != id {
				t.Errorf("entry %q was accepted and is not valid: %v", id, err)
			}
		}
		if e := below.entries["base"]; len(e.Token.Params) != 1 || len(e.Token.Names)+len(e.Header) != 0 {
			t.Errorf("the catalogue below has changed: %+v", e)
		}
	})
}
