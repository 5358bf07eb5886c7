package vendor_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/vendor"
)

// party is a third party that speaks the dialect of an entry, and of nothing
// else: what is sent in another way is refused with status 418.
type party struct {
	t       *testing.T
	entry   vendor.Entry // with the party's own addresses
	scopes  string       // granted, in the vendor's separator
	fail    string       // the code of every answer; "" = none
	status  int          // of answers with a code; 0 = 400, or 200 where the vendor says ok
	revoked []string
}

// newParty starts the third party of the entry with the given id.
func newParty(t *testing.T, id string) *party {
	t.Helper()
	p := &party{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /refresh", p.token)
	mux.HandleFunc("/userinfo", p.userInfo)
	mux.HandleFunc("/revoke/", p.revoke)
	mux.HandleFunc("POST /introspect", p.introspect)
	mux.HandleFunc("/api/", p.api)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	e := lookup(t, id)
	own := vendor.Endpoints{Base: server.URL, Authorization: server.URL + "/authorize", Token: server.URL + "/token", UserInfo: server.URL + "/userinfo", API: server.URL + "/api"}
	if e.Endpoints.Refresh != "" {
		own.Refresh = server.URL + "/refresh"
	}
	if e.Endpoints.Revocation != "" {
		own.Revocation = server.URL + "/revoke/" + map[bool]string{true: "cli_1"}[strings.Contains(e.Endpoints.Revocation, "{client_id}")]
	}
	if e.Endpoints.Introspection != "" {
		own.Introspection = server.URL + "/introspect"
	}
	var err error
	if p.entry, err = e.With(own); err != nil {
		t.Fatal(err)
	}
	p.scopes = "read" + p.entry.Token.ScopeSeparators[:1] + "write"
	return p
}

// put sets the value at a path of an answer.
func put(a map[string]any, path string, v any) {
	step, rest, more := strings.Cut(path, ".")
	if !more {
		a[step] = v
		return
	}
	inner := map[string]any{}
	if next, deeper, list := strings.Cut(rest, "."); strings.Trim(next, "0123456789") == "" {
		if !list {
			a[step] = []any{v}
			return
		}
		put(inner, deeper, v)
		a[step] = []any{inner}
		return
	}
	if old, ok := a[step].(map[string]any); ok {
		inner = old
	}
	put(inner, rest, v)
	a[step] = inner
}

// failed answers with p.fail where the vendor has its errors.
func (p *party) failed(w http.ResponseWriter) bool {
	if p.fail == "" {
		return false
	}
	a, places := map[string]any{}, p.entry.Errors.Error
	number, err := strconv.Atoi(p.fail)
	if (err == nil && len(p.entry.Errors.Code) > 0) || len(places) == 0 {
		places = p.entry.Errors.Code
	}
	if err == nil {
		put(a, places[0], number)
	} else {
		put(a, places[0], p.fail)
	}
	status := p.status
	if status == 0 {
		status = http.StatusBadRequest
		if p.entry.Errors.OK != "" {
			status = http.StatusOK
		}
	}
	p.answer(w, status, a)
	return true
}

func (p *party) answer(w http.ResponseWriter, status int, a map[string]any) {
	if p.entry.Errors.OK != "" {
		put(a, p.entry.Errors.OK, p.fail == "")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a)
}

// refuse says that a request is not in the vendor's dialect.
func (p *party) refuse(w http.ResponseWriter, what string, args ...any) {
	p.t.Errorf("%s is not spoken to like that: "+what, append([]any{p.entry.ID}, args...)...)
	w.WriteHeader(http.StatusTeapot)
}

// params reads the body, and takes the proof of the app out of it.
func (p *party) params(r *http.Request, auth vendor.Auth, body vendor.Body) (params map[string]string, proven bool) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, false
	}
	params = map[string]string{}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case len(b) == 0:
	case err != nil:
		return nil, false
	case body == vendor.BodyJSON:
		if json.Unmarshal(b, &params) != nil || media != "application/json" {
			return nil, false
		}
	default:
		form, err := url.ParseQuery(string(b))
		if err != nil || media != "application/x-www-form-urlencoded" {
			return nil, false
		}
		for k := range form {
			params[k] = form.Get(k)
		}
	}
	return params, p.proven(r, auth, params)
}

// proven reports whether the app is proven in the given way and in no other.
func (p *party) proven(r *http.Request, auth vendor.Auth, params map[string]string) bool {
	named := func(param string) string {
		if n, ok := p.entry.Token.Names[param]; ok {
			param = n
		}
		defer delete(params, param)
		return params[param]
	}
	id, password, header := named("client_id"), named("client_secret"), r.Header.Get("Authorization")
	switch auth {
	case vendor.AuthPost:
		return id == "cli_1" && password == clientSecret && header == ""
	case vendor.AuthBasic:
		return id == "" && password == "" && header == "Basic "+base64.StdEncoding.EncodeToString([]byte("cli_1:"+clientSecret))
	case vendor.AuthBearer:
		return id == "cli_1" && password == "" && header == "Bearer "+clientSecret
	case vendor.AuthNone:
		return id == "cli_1" && password == "" && header == ""
	default:
		return id == "" && password == "" && header == ""
	}
}

func (p *party) token(w http.ResponseWriter, r *http.Request) {
	t := p.entry.Token
	params, proven := p.params(r, t.Auth, t.Body)
	if !proven || !p.headers(r, "") {
		p.refuse(w, "%s %v %v", r.URL, r.Header, params)
		return
	}
	want := map[string]string{"grant_type": "authorization_code", "code": code, "redirect_uri": app().RedirectURI}
	if p.entry.Authorize.PKCE != "none" {
		want["code_verifier"] = verifier
	}
	refreshing := slices.ContainsFunc([]string{t.Names["grant_type"], "grant_type"}, func(n string) bool { return n != "" && params[n] == "refresh_token" })
	if refreshing {
		want = map[string]string{"grant_type": "refresh_token", "refresh_token": refreshToken}
	}
	for k, n := range t.Names {
		v, ok := want[k]
		if delete(want, k); ok && n != "" {
			want[n] = v
		}
	}
	for k, v := range t.Params {
		want[k] = v
	}
	for k := range want {
		if params[k] != want[k] {
			p.refuse(w, "%s is %q", k, params[k])
			return
		}
	}
	if len(params) != len(want) || (refreshing && p.entry.Endpoints.Refresh != "") != (r.URL.Path == "/refresh") {
		p.refuse(w, "%s %v", r.URL, params)
		return
	}
	if p.failed(w) {
		return
	}
	set := ""
	if t.Set != "" && !refreshing {
		set = t.Set + "."
	}
	a := map[string]any{}
	put(a, set+t.AccessToken, accessToken)
	put(a, set+t.RefreshToken, newRefresh)
	for path, v := range map[string]any{t.TokenType: "bearer", t.Scope: p.scopes, t.ExpiresIn: 3600, t.ExpiresAt: epoch.Add(time.Hour).Unix(), t.RefreshExpiresIn: "86400"} {
		if path != "" {
			put(a, set+path, v)
		}
	}
	p.answer(w, http.StatusOK, a)
}

// headers reports whether a request has the entry's headers, and shows an access
// token as the vendor wants to see it.
func (p *party) headers(r *http.Request, access string) bool {
	bearer := access != ""
	for k, v := range p.entry.Header {
		if strings.Contains(v, "{access_token}") {
			if bearer = false; access == "" {
				continue
			}
			v = strings.ReplaceAll(v, "{access_token}", access)
		}
		if r.Header.Get(k) != v {
			return false
		}
	}
	return !bearer || r.Header.Get("Authorization") == "Bearer "+access
}

func (p *party) userInfo(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if i := p.entry.Identity; err != nil || r.Method != i.Method || string(b) != i.Body || !p.headers(r, accessToken) {
		p.refuse(w, "%s %s %v %s", r.Method, r.URL, r.Header, b)
		return
	}
	if p.failed(w) {
		return
	}
	a := map[string]any{}
	put(a, p.entry.Identity.ID, "u-1")
	put(a, p.entry.Identity.Name, "张三")
	p.answer(w, http.StatusOK, a)
}

func (p *party) api(w http.ResponseWriter, r *http.Request) {
	if strings.TrimPrefix(r.URL.Path, "/api") != strings.TrimPrefix(p.entry.Test.URL, "{api}") || r.Method != p.entry.Test.Method || !p.headers(r, accessToken) {
		p.refuse(w, "%s %s %v", r.Method, r.URL, r.Header)
		return
	}
	if p.failed(w) {
		return
	}
	_, _ = io.WriteString(w, `[{"some":"list"}]`)
}

func (p *party) revoke(w http.ResponseWriter, r *http.Request) {
	v := p.entry.Revocation
	var token, hint string
	if v.Auth == vendor.AuthBearer {
		token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	} else {
		params, proven := p.params(r, v.Auth, v.Body)
		if !proven {
			p.refuse(w, "%v %v", r.Header, params)
			return
		}
		token, hint = params[v.Param], params["token_type_hint"]
	}
	wantHint := ""
	if v.Hint {
		wantHint = map[bool]string{true: "access_token", false: "refresh_token"}[token == accessToken]
	}
	if r.Method != v.Method || hint != wantHint || (token != accessToken && token != refreshToken) {
		p.refuse(w, "%s %s, token %q, hint %q", r.Method, r.URL, token, hint)
		return
	}
	if !p.failed(w) {
		p.revoked = append(p.revoked, token)
		p.answer(w, http.StatusOK, map[string]any{})
	}
}

func (p *party) introspect(w http.ResponseWriter, r *http.Request) {
	i := p.entry.Introspection
	params, proven := p.params(r, i.Auth, i.Body)
	if !proven {
		p.refuse(w, "%v %v", r.Header, params)
		return
	}
	p.answer(w, http.StatusOK, map[string]any{"active": params[i.Param] == accessToken})
}
