package server_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
)

func (s *scene) hostileOpenID() []hostile {
	z, stranger := s.zhangsan, s.person("nobody")
	const login, consent = "/userpool/people/login", "/userpool/people/consent"
	return []hostile{
		{"unknown pool", page(z, "/userpool/nobody/authorize"), 404, "userpool_not_found", ""},
		{"unknown pool's discovery", page(z, "/userpool/nobody/.well-known/openid-configuration"), 404, "invalid_request", "no user pool"},
		{"NUL as a pool", page(z, "/userpool/%00/authorize"), 404, "userpool_not_found", ""},
		{"no client", page(z, s.askOpenID("client_id", "")), 400, "client_id_missing", ""},
		{"unknown client", page(z, s.askOpenID("client_id", "cli_x")), 400, "client_unknown", ""},
		{"NUL as a client", page(z, s.askOpenID("client_id", "\x00")), 400, "client_unknown", ""},
		{"client twice", page(z, s.askOpenID()+"&client_id=x"), 400, "form_parameter_repeated", ""},
		{"foreign redirect", page(z, s.askOpenID("redirect_uri", "https://evil.example/")), 400, "redirect_uri_mismatch", clientURL},
		{"giant", page(z, s.askOpenID("state", strings.Repeat("x", 9000))), 413, "request_too_large", ""},
		{"implicit flow", page(z, s.askOpenID("response_type", "token")), 303, "unsupported_response_type", ""},
		{"a third party's scope", page(z, s.askOpenID("scope", readDoc)), 303, "invalid_scope", ""},
		{"silent without login", page(stranger, s.askOpenID("prompt", "none")), 303, "login_required", ""},
		{"return to a stranger", page(stranger, login+"?return=https://evil.example/"), 400, "return_invalid", ""},
		{"return around the corner", page(stranger, login+"?return=/authorize?request_uri=x%5Cevil"), 400, "return_invalid", ""},
		{"login without form", func() answer { return stranger.post(login, url.Values{"username": {"lisi"}, "password": {"x"}}) }, 403, "form_foreign", ""},
		{"login from another site", func() answer {
			return send(s.t, stranger.http, "POST", s.url+login, nil, http.Header{"Sec-Fetch-Site": {"cross-site"}})
		}, 403, "form_foreign", ""},
		{"wrong password", s.wrongLogin("lisi"), 403, "", "User name or password is wrong"},
		{"unknown user", s.wrongLogin("nobody"), 403, "", "User name or password is wrong"},
		{"login by PUT", func() answer { return send(s.t, z.http, "PUT", s.url+login, nil, nil) }, 405, "", "POST"},
		{"consent without form", func() answer {
			return z.post(consent, url.Values{"decision": {"allow"}, "request": {strings.TrimPrefix(s.askOpenID(), "/userpool/people/authorize?")}})
		}, 403, "form_foreign", ""},
		{"consent to another request", func() answer {
			return z.post(consent, url.Values{"decision": {"allow"}, "request": {"client_id=" + s.client}})
		}, 400, "redirect_uri_missing", ""},
	}
}

// wrongLogin fills in the login page with a password that is not right.
func (s *scene) wrongLogin(who string) func() answer {
	return func() answer {
		p := s.person(who)
		action, form := p.fill(p.get("/userpool/people/login"), "username", "username", who, "password", "not "+password)
		return p.post(action, form)
	}
}

func (s *scene) hostileTokens() []hostile {
	const path = "/userpool/people/oauth/token"
	redeem := func(changes ...string) func() answer {
		return func() answer {
			form := url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {clientURL}, "client_id": {s.client}, "client_secret": {s.secret}}
			for i := 0; i < len(changes); i += 2 {
				form[changes[i]] = strings.Fields(changes[i+1])
			}
			return s.zhangsan.post(path, form)
		}
	}
	bearer := func(token string) func() answer {
		return func() answer {
			return send(s.t, noRedirects, "GET", s.url+"/userpool/people/userinfo", nil, http.Header{"Authorization": {"Bearer " + token}})
		}
	}
	return []hostile{
		{"by GET", page(s.zhangsan, path), 405, "", "POST"},
		{"JSON", func() answer {
			return send(s.t, noRedirects, "POST", s.url+path, reader("{}"), http.Header{"Content-Type": {"application/json"}})
		}, 400, "invalid_request", ""},
		{"no client", redeem("client_id", "", "client_secret", ""), 401, "invalid_client", ""},
		{"wrong secret", redeem("client_secret", "cs_wrong"), 401, "invalid_client", ""},
		{"no secret", redeem("client_secret", ""), 401, "invalid_client", ""},
		{"secret in the address", func() answer {
			return s.zhangsan.post(path+"?client_id="+s.client+"&client_secret=x", url.Values{"grant_type": {"x"}})
		}, 401, "invalid_client", ""},
		{"code twice", redeem("code", "x y"), 400, "invalid_request", ""},
		{"password grant", redeem("grant_type", "password"), 400, "unsupported_grant_type", ""},
		{"unknown code", redeem(), 400, "invalid_grant", ""},
		{"a code for another redirect", func() answer { return redeem("code", s.zhangsan.code(), "redirect_uri", clientURL+"x")() }, 400, "invalid_grant", ""},
		{"a code used twice", func() answer {
			c := s.zhangsan.code()
			redeem("code", c)()
			return redeem("code", c)()
		}, 400, "invalid_grant", "used before"},
		{"a verifier out of nowhere", func() answer { return redeem("code", s.zhangsan.code(), "code_verifier", strings.Repeat("x", 43))() }, 400, "invalid_grant", ""},
		{"giant", redeem("code", strings.Repeat("x", 64<<10)), 413, "invalid_request", ""},
		{"user info for an agent", bearer(s.a), 401, "invalid_token", ""},
		{"user info for an operator", bearer(s.operator), 401, "invalid_token", ""},
	}
}

// unsigned is a token that says that it needs no signature.
func unsigned(typ, claims string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"none","typ":"`+typ+`"}`)) + "." + enc.EncodeToString([]byte(claims)) + "."
}

func (s *scene) hostileIngress() []hostile {
	invoke := func(headers ...string) func() answer {
		return func() answer { return s.invoke("a", "{}", http.Header{"Authorization": headers}) }
	}
	good := "Bearer " + s.user
	at := func(method, path, authorization string) func() answer {
		return func() answer {
			h := http.Header{}
			if authorization != "" {
				h.Set("Authorization", authorization)
			}
			return send(s.t, noRedirects, method, s.ingress+path, nil, h)
		}
	}
	return []hostile{
		{"no token", invoke(), 401, "token_missing", "Consumer authentication failed"},
		{"token in the address", at("POST", "/agents/default/a/invoke?access_token="+s.user, ""), 401, "token_missing", ""},
		{"two tokens", invoke(good, good), 400, "token_ambiguous", ""},
		{"another scheme", invoke("Basic eDp5"), 401, "token_missing", ""},
		{"nonsense", invoke("Bearer x"), 401, "token_malformed", ""},
		{"markup", invoke("Bearer <script>"), 401, "token_malformed", ""},
		{"oversize", invoke("Bearer " + strings.Repeat("x", 20<<10)), 401, "token_malformed", ""},
		{"alg none", invoke("Bearer " + unsigned("at+jwt", `{"sub":"usr_x"}`)), 401, "token_algorithm", ""},
		{"another's signature", invoke("Bearer " + s.user[:strings.LastIndex(s.user, ".")+1] + strings.Repeat("A", 86)), 401, "token_signature", ""},
		{"a workload access token", invoke("Bearer " + s.a), 401, "token_type", ""},
		{"an operator's token", invoke("Bearer " + s.operator), 401, "token_malformed", ""},
		{"an authorization code", func() answer { return invoke("Bearer " + s.zhangsan.code())() }, 401, "token_malformed", ""},
		{"unknown agent", at("POST", "/agents/default/nobody/invoke", good), 404, "agent_not_found", ""},
		{"an agent that was not launched", at("POST", "/agents/default/b/invoke", good), 404, "agent_not_found", ""},
		{"another pool's agent", at("POST", "/agents/other/a/invoke", good), 404, "agent_not_found", ""},
		{"by GET", at("GET", "/agents/default/a/invoke", good), 405, "method_not_allowed", "POST"},
		{"a way around", at("POST", "/agents/default/../default/a/invoke", good), 404, "route_not_found", ""},
		{"the identity service's path", at("GET", "/api/v1/whoami", good), 404, "route_not_found", ""},
		{"giant", func() answer {
			return s.invoke("a", strings.Repeat("x", 1<<20+1), http.Header{"Authorization": {good}})
		}, 413, "body_too_large", ""},
	}
}

func (s *scene) hostileBearers() []hostile {
	key, other := s.signing("workload-tokens")[0], s.signing("launch-tokens")[0]
	ask := func(authorization ...string) func() answer {
		return func() answer {
			return send(s.t, noRedirects, "POST", s.url+"/api/v1/credentials", reader(`{"provider":"feishu_oauth"}`), http.Header{"Authorization": authorization})
		}
	}
	forged := func(typ string, key jwt.Key, changes map[string]any) func() answer {
		return ask("Bearer " + s.forge(typ, key, changes))
	}
	launch := s.forge("launch+jwt", other, map[string]any{"sub": "spiffe://deputy.local/default/a", "launch_id": "launch_x"})
	past := func() time.Time { return s.clock.now().Add(-16 * time.Minute) }
	return []hostile{
		{"none", ask(), 401, "token_missing", ""},
		{"in the address", func() answer {
			return s.api("POST", "/credentials?access_token="+s.a, "", `{"provider":"feishu_oauth"}`)
		}, 401, "token_missing", ""},
		{"in the address too", func() answer { return s.api("POST", "/credentials?access_token=x", s.a, `{"provider":"feishu_oauth"}`) }, 400, "parameter_unknown", "secrets never belong"},
		{"twice", ask("Bearer "+s.a, "Bearer "+s.b), 401, "token_malformed", ""},
		{"two in one", ask("Bearer " + s.a + ", Bearer " + s.b), 401, "token_malformed", ""},
		{"Basic", ask("Basic eDp5"), 401, "token_malformed", ""},
		{"empty", ask("Bearer "), 401, "token_malformed", ""},
		{"alg none", ask("Bearer " + unsigned("wat+jwt", `{"iss":"`+s.url+`","sub":"usr_x"}`)), 401, "token_algorithm", ""},
		{"another issuer", forged("wat+jwt", key, map[string]any{"iss": "https://evil.example"}), 401, "token_issuer", ""},
		{"another audience", forged("wat+jwt", key, map[string]any{"aud": "https://evil.example"}), 401, "token_audience", ""},
		{"another key", forged("wat+jwt", other, nil), 401, "token_unknown_key", ""},
		{"another trust domain", forged("wat+jwt", key, map[string]any{"act": map[string]any{"sub": "spiffe://evil.example/default/a"}}), 401, "token_malformed", ""},
		{"two subjects", forged("wat+jwt", key, map[string]any{"sub": s.subject["lisi"]}), 401, "token_malformed", ""},
		{"no expiry", forged("wat+jwt", key, map[string]any{"exp": nil}), 401, "token_malformed", ""},
		{"from the future", forged("wat+jwt", key, map[string]any{"iat": s.clock.now().Add(time.Hour).Unix()}), 401, "token_not_yet_valid", ""},
		{"expired", ask("Bearer " + s.mint(s.tokens(past), name.Workload{Pool: "default", Name: "a"}, "zhangsan")), 401, "token_expired", ""},
		{"a user's access token", ask("Bearer " + s.user), 401, "token_type", ""},
		{"a launch token", ask("Bearer " + launch), 401, "token_type", ""},
		{"an operator's", ask("Bearer " + s.operator), 403, "workload_token_needed", ""},
		{"of an agent, to administer", s.rest("GET", "/user-pools", &s.a, ""), 403, "operator_needed", ""},
		{"of a user, to administer", s.rest("GET", "/user-pools", &s.user, ""), 401, "operator_token_unknown", ""},
		{"an operator's, invented", s.rest("GET", "/user-pools", text("dop_00000000000000000000000000"), ""), 401, "operator_token_unknown", ""},
		{"of an agent, for another", s.rest("POST", "/workload-tokens", &s.a, "{}"), 401, "proof_unknown", ""},
		{"of a launch that is not", s.rest("POST", "/workload-tokens", &launch, "{}"), 401, "launch_ended", ""},
		{"nobody's whoami", s.rest("GET", "/whoami", text(""), ""), 401, "token_missing", ""},
	}
}

func (s *scene) hostileCredentials() []hostile {
	self, gone := s.wat("a", ""), s.wat("gone", "zhangsan")
	elsewhere := s.mint(s.tokens(s.clock.now), name.Workload{Pool: "other", Name: "a"}, "zhangsan")
	of := func(token *string, providerName string) func() answer {
		return s.rest("POST", "/credentials", token, fmt.Sprintf(`{"provider":%q}`, providerName))
	}
	scopes := func(list string) func() answer {
		return s.rest("POST", "/credentials", &s.a, `{"provider":"feishu_oauth","scopes":`+list+`}`)
	}
	read := func(token, suffix string) func() answer {
		return func() answer { return s.api("GET", "/authorizations/"+s.link(s.a).ID+suffix, token, "") }
	}
	return []hostile{
		{"for nobody", of(&self, "feishu_oauth"), 403, "user_required", ""},
		{"of an agent that is gone", of(&gone, "feishu_oauth"), 401, "workload_gone", ""},
		{"another pool's provider", of(&s.a, "of_other"), 404, "provider_not_found", ""},
		{"from another pool", of(&elsewhere, "feishu_oauth"), 404, "provider_not_found", ""},
		{"a slip of the pen", of(&s.a, "feishu-oauth"), 404, "provider_not_found", "did you mean feishu_oauth?"},
		{"no provider", of(&s.a, ""), 400, "provider_missing", ""},
		{"a name that none can have", of(&s.a, "' OR 1=1 --"), 400, "name_invalid", ""},
		{"a giant name", of(&s.a, strings.Repeat("x", 50_000)), 400, "name_invalid", ""},
		{"two scopes in one", scopes(`["a b"]`), 400, "scope_invalid", ""},
		{"a quote in a scope", scopes(`["a\"b"]`), 400, "scope_invalid", ""},
		{"an empty scope", scopes(`[""]`), 400, "scope_invalid", ""},
		{"a giant scope", scopes(`["` + strings.Repeat("x", 256) + `"]`), 400, "scope_invalid", ""},
		{"many scopes", scopes(`["x"` + strings.Repeat(`,"x"`, 200) + `]`), 400, "scope_invalid", ""},
		{"scopes as a string", scopes(`"a"`), 400, "json_invalid", ""},
		{"agent b reads agent a's", read(s.b, ""), 404, "authorization_not_found", ""},
		{"agent b follows agent a's", read(s.b, "/events"), 404, "authorization_not_found", ""},
		{"agent a for lisi reads zhangsan's", read(s.ofLisi, ""), 404, "authorization_not_found", ""},
		{"agent a for nobody reads zhangsan's", read(self, ""), 404, "authorization_not_found", ""},
		{"another pool's agent a reads ours", read(elsewhere, ""), 404, "authorization_not_found", ""},
		{"an operator reads it", read(s.operator, ""), 403, "workload_token_needed", ""},
		{"an authorization that is not", s.rest("GET", "/authorizations/auth_x", &s.a, ""), 404, "authorization_not_found", ""},
		{"NUL as an authorization", s.rest("GET", "/authorizations/%00", &s.a, ""), 404, "authorization_not_found", ""},
		{"waiting for an hour", read(s.a, "?wait=1h"), 400, "parameter_invalid", "1m0s"},
		{"waiting backwards", read(s.a, "?wait=-1s"), 400, "parameter_invalid", ""},
		{"waiting for good", read(s.a, "?wait=forever"), 400, "parameter_invalid", ""},
		{"waiting twice", read(s.a, "?wait=1s&wait=2s"), 400, "parameter_unknown", ""},
		{"clearing what none can have", s.rest("DELETE", "/credentials/%27%20OR%201=1", &s.a, ""), 400, "name_invalid", ""},
	}
}

func (s *scene) hostileJSON() []hostile {
	post := func(body string) func() answer { return s.rest("POST", "/credentials", &s.a, body) }
	typed := func(mediaType string) func() answer {
		return func() answer {
			return send(s.t, noRedirects, "POST", s.url+"/api/v1/credentials", reader(`{"provider":"feishu_oauth"}`),
				http.Header{"Authorization": {"Bearer " + s.a}, "Content-Type": {mediaType}})
		}
	}
	return []hostile{
		{"nothing", post(""), 400, "json_invalid", ""},
		{"null", post("null"), 400, "provider_missing", ""},
		{"an array", post("[]"), 400, "json_invalid", ""},
		{"cut off", post(`{"provider":`), 400, "json_invalid", ""},
		{"two documents", post(`{"provider":"feishu_oauth"}{}`), 400, "json_invalid", ""},
		{"unknown field", post(`{"provider":"feishu_oauth","scope":"x"}`), 400, "json_unknown_field", "did you mean scopes?"},
		{"a field twice", post(`{"provider":"feishu_oauth","provider":"of_other"}`), 400, "json_invalid", "twice"},
		{"a field in other letters", post(`{"Provider":"feishu_oauth"}`), 400, "json_invalid", "provider"},
		{"the wrong type", post(`{"provider":["feishu_oauth"]}`), 400, "json_invalid", "a string"},
		{"deep", post(`{"scopes":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`), 400, "json_invalid", ""},
		{"giant", post(`{"provider":"` + strings.Repeat("x", 96<<10) + `"}`), 413, "json_too_large", ""},
		{"bad UTF-8", post("{\"provider\":\"\xff\"}"), 400, "json_invalid", "UTF-8"},
		{"a form", typed("application/x-www-form-urlencoded"), 415, "content_type_unsupported", ""},
		{"text", typed("text/plain"), 415, "content_type_unsupported", ""},
	}
}

func (s *scene) hostileQueries() []hostile {
	get := func(path string) func() answer { return s.rest("GET", path, &s.operator, "") }
	return []hostile{
		{"unknown path", get("/nothing"), 404, "endpoint_not_found", ""},
		{"unknown version", func() answer { return send(s.t, noRedirects, "GET", s.url+"/api/v2/whoami", nil, nil) }, 404, "endpoint_not_found", ""},
		{"unknown method", s.rest("PROPFIND", "/user-pools/people", &s.operator, ""), 405, "method_not_allowed", "GET"},
		{"a method without a path", s.rest("DELETE", "/credentials", &s.a, ""), 405, "method_not_allowed", "POST"},
		{"an invented method", s.rest("BREW", "/whoami", &s.a, ""), 405, "method_not_allowed", "GET"},
		{"a slash too many", get("/user-pools/people/users/"), 404, "endpoint_not_found", ""},
		{"negative limit", get("/audit?limit=-1"), 400, "parameter_invalid", "1 to 1000"},
		{"no limit", get("/audit?limit=0"), 400, "parameter_invalid", ""},
		{"huge limit", get("/audit?limit=99999999999999999999"), 400, "parameter_invalid", ""},
		{"a word as limit", get("/user-pools/people/users?limit=all"), 400, "parameter_invalid", ""},
		{"negative place", get("/audit?after=-1"), 400, "parameter_invalid", ""},
		{"neither true nor false", get("/audit?newest=maybe"), 400, "parameter_invalid", ""},
		{"unknown parameter", get("/audit?order=seq"), 400, "parameter_unknown", ""},
		{"a parameter twice", get("/audit?limit=1&limit=2"), 400, "parameter_unknown", ""},
		{"broken encoding", get("/audit?limit=1&action=%zz"), 400, "parameter_invalid", ""},
		{"SQL as an action", get("/audit?action=" + url.QueryEscape("x' OR '1'='1")), 200, "", `{"items":[]}`},
		{"SQL as a subject", get("/audit?subject=" + url.QueryEscape("x'; DROP TABLE audit; --")), 200, "", `{"items":[]}`},
		{"SQL as a place", get("/user-pools/people/users?after=" + url.QueryEscape("zzz' OR 1=1 --")), 200, "", `{"items":[]}`},
		{"NUL as a filter", get("/audit?provider=%00"), 200, "", `{"items":[]}`},
		{"bad UTF-8 as a filter", get("/audit?provider=%ff"), 200, "", `{"items":[]}`},
	}
}

func (s *scene) hostileAdministration() []hostile {
	const providers, users, clients = "/workload-pools/default/providers", "/user-pools/people/users", "/user-pools/people/clients"
	post := func(path, body string) func() answer { return s.rest("POST", path, &s.operator, body) }
	changed := func(old, replacement string) func() answer {
		return post(providers, strings.Replace(s.provider("new", readDoc), old, replacement, 1))
	}
	own := s.url + "/api/v1/oauth2callback"
	return []hostile{
		{"a scope that Feishu has not", post(providers, s.provider("new", "openid")), 400, "scope_refused", "20043"},
		{"the callback at the ingress", changed(`"name"`, `"callbackUrl":"`+s.ingress+`/api/v1/oauth2callback","name"`), 400, "callback_url_wrong", own},
		{"a vendor that is not", changed(`"feishu"`, `"feishoo"`), 400, "vendor_unknown", "did you mean feishu"},
		{"a type that is not", changed(`"name"`, `"type":"saml","name"`), 400, "provider_type_unknown", ""},
		{"a flow that is not", changed(`"name"`, `"flow":"PASSWORD","name"`), 400, "flow_unknown", ""},
		{"no secret", changed(appSecret, ""), 400, "client_secret_missing", ""},
		{"no client", changed(appID, ""), 400, "client_id_invalid", ""},
		{"a file as an endpoint", changed(s.party.URL, "file:///etc/passwd"), 400, "vendor_endpoint_invalid", ""},
		{"a name with a way out", changed(`"new"`, `"../new"`), 400, "name_invalid", ""},
		{"a name twice", post(providers, s.provider("feishu_oauth", readDoc)), 409, "provider_exists", ""},
		{"a pool that is not", post("/workload-pools/defualt/providers", s.provider("new")), 404, "workload_pool_not_found", ""},
		{"a provider that is not", s.rest("GET", providers+"/feishu_oath", &s.operator, ""), 404, "provider_not_found", "did you mean feishu_oauth?"},
		{"a user twice", post(users, `{"userName":"ZhangSan","password":"`+password+`"}`), 409, "user_exists", ""},
		{"a short password", post(users, `{"userName":"x","password":"short"}`), 400, "password_length", ""},
		{"a user with markup", post(users, `{"userName":"<b>x</b>","password":"`+password+`"}`), 400, "name_invalid", ""},
		{"an open redirect", post(clients, `{"name":"x","redirectUris":["https://*.example/"]}`), 400, "redirect_uri_invalid", ""},
		{"a script as redirect", post(clients, `{"name":"x","redirectUris":["javascript:alert(1)"]}`), 400, "redirect_uri_invalid", ""},
		{"an endless token", post(clients, `{"name":"x","redirectUris":["`+clientURL+`"],"accessTokenLifetime":999999999}`), 400, "lifetime_invalid", ""},
		{"a negative life", post(clients, `{"name":"x","redirectUris":["`+clientURL+`"],"accessTokenLifetime":-1}`), 400, "lifetime_invalid", ""},
		{"an overflowing life", post(clients, `{"name":"x","redirectUris":["`+clientURL+`"],"accessTokenLifetime":9223372037}`), 400, "lifetime_invalid", ""},
		{"an agent from anywhere", post("/workload-pools/default/agents", `{"directory":"../x","definition":"x"}`), 400, "agentkit_invalid", ""},
		{"an agent that is not", s.rest("GET", "/workload-pools/default/agents/c", &s.operator, ""), 404, "agent_not_found", ""},
		{"many lines", s.rest("GET", "/workload-pools/default/agents/a/logs?lines=100000", &s.operator, ""), 400, "parameter_invalid", ""},
		{"a grant that is not", s.rest("DELETE", "/workload-pools/default/grants/grt_x", &s.operator, ""), 404, "grant_not_found", ""},
		{"an agent who administers", s.rest("POST", providers, &s.a, s.provider("new", readDoc)), 403, "operator_needed", ""},
	}
}
