package server_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/name"
	deputy "github.com/deputy-id/deputy/sdk"
	"github.com/deputy-id/deputy/sdk/deputytest"
)

// peer is a Deputy that an agent speaks to: the real one, or the one that the SDK
// has for tests of agents.
type peer struct {
	t      *testing.T
	url    string
	launch string // launch token
	self   string // the agent's name
	old    string // a token of zhangsan's that expired a minute ago
	wat    func(who string) string
	user   func(who string) deputy.User
	own    string // a token of zhangsan's own
	// decide lets a person agree to what a link is about, or not.
	decide func(who string, a authorization, agree bool)
	said   []string // the transcript
}

// real is Deputy with all that the conversation needs.
func realPeer(t *testing.T) *peer {
	w := newWorld(t, nil)
	w.launch()
	const providers = "/workload-pools/default/providers"
	w.make(providers, `{"name":"weather","type":"api_key","apiKey":{"key":"k-1","header":"X-Api-Key"}}`, nil)
	w.make(providers, `{"name":"model","type":"api_key","apiKey":{"key":"k-2"}}`, nil)
	w.make(providers, `{"name":"wiki","type":"basic","basic":{"username":"bot","password":"pass"}}`, nil)
	for workload, settings := range map[string]string{"a": `{"assertsFor":["` + w.issuer() + `"]}`, "b": `{"callers":["a"]}`} {
		if got := w.api("PUT", "/workload-pools/default/workloads/"+workload, w.operator, settings); got.status != http.StatusOK {
			t.Fatalf("%s: %d %s", workload, got.status, got.body)
		}
	}
	people := map[string]*person{"zhangsan": w.person("zhangsan").logIn(), "lisi": w.person("lisi").logIn()}
	bearer := http.Header{"Authorization": {"Bearer " + people["zhangsan"].accessToken()}}
	var got seen
	must(t, json.Unmarshal([]byte(w.invoke("a", "{}", bearer).body), &got))
	past := func() time.Time { return w.clock.now().Add(-16 * time.Minute) }
	old := w.mint(w.tokens(past), name.Workload{Pool: name.DefaultPool, Name: "a"}, "zhangsan")
	return &peer{t: t, url: w.url, self: "a", launch: trim(got.Launch), old: old, own: people["zhangsan"].accessToken(), wat: func(who string) string { return w.wat("a", who) },
		user: func(who string) deputy.User { return deputy.User{Issuer: w.issuer(), Subject: w.subject[who]} },
		decide: func(who string, a authorization, agree bool) {
			p := people[who]
			if agree {
				p.authorize(a.URL)
				return
			}
			p.finish(p.decide(p.begin(a.URL), "deny"))
		}}
}

// fakePeer is what agents are tested with, set up alike.
func fakePeer(t *testing.T) *peer {
	d := deputytest.Start(t)
	d.Keep("weather", map[string]string{"type": "api_key", "apiKey": "k-1", "header": "X-Api-Key"})
	d.Keep("model", map[string]string{"type": "api_key", "apiKey": "k-2", "header": "Authorization", "prefix": "Bearer "})
	d.Keep("wiki", map[string]string{"type": "basic", "username": "bot", "password": "pass"})
	d.Agent("b", http.NotFoundHandler())
	user := func(who string) deputy.User {
		if who == "" {
			return deputy.User{}
		}
		return deputy.User{Issuer: d.URL + "/userpool/people", Subject: "usr_" + who}
	}
	d.Now = func() time.Time { return time.Now().Add(-16 * time.Minute) }
	old := d.Mint(user("zhangsan")).Reveal()
	d.Now = nil
	return &peer{t: t, url: d.URL, self: "agent", launch: deputytest.LaunchToken, old: old, own: d.UserToken(user("zhangsan")).Reveal(), user: user, wat: func(who string) string { return d.Mint(user(who)).Reveal() },
		decide: func(_ string, a authorization, agree bool) {
			d.Step(a.ID, "redirected")
			if !agree {
				d.Decline(a.ID)
				return
			}
			d.Step(a.ID, "exchanging")
			d.Agree(a.ID)
		}}
}

// TestDeputyForTests has the same conversation with Deputy and with the one that
// agents are tested with: what they say must not differ in status, header or
// shape, and in no word that a program reads.
func TestDeputyForTests(t *testing.T) {
	for what, talk := range map[string]func(*peer){"on the wire": (*peer).onTheWire, "with the SDK": (*peer).withSDK} {
		t.Run(what, func(t *testing.T) {
			one, other := realPeer(t), fakePeer(t)
			talk(one)
			talk(other)
			if diff := cmp.Diff(one.said, other.said); diff != "" {
				t.Errorf("the one for tests differs (-Deputy +for tests):\n%s", diff)
			}
			if len(one.said) < 15 {
				t.Errorf("they did not say much: %q", one.said)
			}
		})
	}
}

// call sends a request and writes down the answer. It returns the body.
func (p *peer) call(what, method, path, token, body string) string {
	p.t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		h.Set("Content-Type", "application/json")
	}
	return p.callWith(what, method, path, body, h)
}

func (p *peer) callWith(what, method, path, body string, h http.Header) string {
	p.t.Helper()
	a := send(p.t, noRedirects, method, p.url+path, reader(body), h)
	line := fmt.Sprintf("%s: %d %s %s", what, a.status, a.header.Get("Content-Type"), a.header.Get("Cache-Control"))
	if challenge := a.header.Get("WWW-Authenticate"); challenge != "" {
		line += " " + challenge
	}
	if allow := a.header.Get("Allow"); allow != "" {
		line += " allow " + allow
	}
	p.said = append(p.said, line+" "+shape(p.t, a.body))
	return a.body
}

// words are the members of which programs read the value.
var words = []string{"type", "title", "status", "code", "state", "reason", "tokenType", "provider", "scopes", "header", "prefix", "apiKey", "username", "password",
	"kty", "crv", "use", "alg"}

// shape is what a body looks like: its members, the words in them that programs
// read, and of all others what kind of value they have. Advice may differ.
func shape(t *testing.T, body string) string {
	t.Helper()
	if body == "" {
		return "nothing"
	}
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return "no JSON"
	}
	return shapeOf("", v)
}

func shapeOf(key string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		var members []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if name != "fix" && (name != "source" || v[name] == "userToken") {
				members = append(members, name+" "+shapeOf(name, v[name]))
			}
		}
		return "{" + strings.Join(members, ", ") + "}"
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, shapeOf(key, item))
		}
		slices.Sort(items)
		return "[" + strings.Join(slices.Compact(items), " ") + "]"
	case string:
		if slices.Contains(words, key) {
			return fmt.Sprintf("%q", v)
		}
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return "time"
		}
		return "text"
	case float64:
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("%T", v)
}

func (p *peer) onTheWire() {
	p.refusals()
	const api = "/api/v1"
	zhangsan, lisi := p.wat("zhangsan"), p.wat("lisi")
	request := `{"provider":"feishu_oauth","scopes":["` + readDoc + `"]}`

	link := func(what, body string) authorization {
		var got asked
		must(p.t, json.Unmarshal([]byte(p.call(what, "POST", api+"/credentials", zhangsan, body)), &got))
		return got.Authorization
	}
	first := link("a link", request)
	at := api + "/authorizations/" + first.ID
	p.call("its state", "GET", at, zhangsan, "")
	p.call("its state, with patience", "GET", at+"?wait=1ms", zhangsan, "")
	p.call("its state, with too much", "GET", at+"?wait=2h", zhangsan, "")
	p.call("its state, with nonsense", "GET", at+"?wait=soon", zhangsan, "")
	p.call("its state, with something unknown", "GET", at+"?wait=1ms&token=x", zhangsan, "")
	p.call("somebody else's", "GET", at, lisi, "")
	p.call("somebody else's events", "GET", at+"/events", lisi, "")
	p.call("nobody's", "GET", api+"/authorizations/auth_none", zhangsan, "")
	events := p.follow(at+"/events", zhangsan)
	p.decide("zhangsan", first, true)
	events()
	p.call("completed", "GET", at+"?wait=20s", zhangsan, "")

	p.call("a credential", "POST", api+"/credentials", zhangsan, request)
	p.call("a credential that was refused once", "POST", api+"/credentials", zhangsan, `{"provider":"feishu_oauth","scopes":["`+readDoc+`"],"refused":"another"}`)
	second := link("asked again", `{"provider":"feishu_oauth","scopes":["`+readDoc+`"],"force":true}`)
	events = p.follow(api+"/authorizations/"+second.ID+"/events", zhangsan)
	p.decide("zhangsan", second, false)
	events()
	p.call("declined", "GET", api+"/authorizations/"+second.ID, zhangsan, "")
	p.call("what there was", "POST", api+"/credentials", zhangsan, request)
	p.call("clear", "DELETE", api+"/credentials/feishu_oauth", zhangsan, "")
	p.call("clear nothing", "DELETE", api+"/credentials/feishu_oauth", zhangsan, "")
	p.call("after that", "POST", api+"/credentials", zhangsan, request)

	for _, name := range []string{"weather", "model", "wiki"} {
		p.call(name, "POST", api+"/credentials", zhangsan, `{"provider":"`+name+`"}`)
		p.call(name+" for nobody", "POST", api+"/credentials", p.wat(""), `{"provider":"`+name+`"}`)
	}
	p.call("a key with scopes", "POST", api+"/credentials", zhangsan, `{"provider":"weather","scopes":["read"]}`)

	p.call("keys", "GET", "/.well-known/jwks.json", "", "")
	p.call("a call token", "POST", api+"/call-tokens", zhangsan, `{"agent":"b"}`)
	p.call("a call token for oneself", "POST", api+"/call-tokens", zhangsan, `{"agent":"`+p.self+`"}`)
	p.call("a call token for nobody", "POST", api+"/call-tokens", zhangsan, `{"agent":"c"}`)
	p.call("a call token without a user", "POST", api+"/call-tokens", p.wat(""), `{"agent":"b"}`)
	p.call("a call token for what is no name", "POST", api+"/call-tokens", zhangsan, `{"agent":"../b"}`)
	p.call("a token of one's own", "POST", api+"/workload-tokens", p.launch, `{}`)
	user, err := json.Marshal(map[string]any{"user": map[string]string{"issuer": p.user("lisi").Issuer, "subject": p.user("lisi").Subject}})
	must(p.t, err)
	p.call("a token for a user", "POST", api+"/workload-tokens", p.launch, string(user))
	p.call("a token for a user's token", "POST", api+"/workload-tokens", p.launch, `{"userToken":"`+p.own+`"}`)
	p.call("a token for a token that is none", "POST", api+"/workload-tokens", p.launch, `{"userToken":"x"}`)
	p.call("a token for half a user", "POST", api+"/workload-tokens", p.launch, `{"user":{"issuer":"x"}}`)
}

// refusals asks for what cannot be had.
func (p *peer) refusals() {
	const credentials = "/api/v1/credentials"
	zhangsan := p.wat("zhangsan")
	p.call("without a token", "POST", credentials, "", `{}`)
	p.call("with a token that is none", "POST", credentials, "nonsense", `{}`)
	p.call("with a token of another's", "POST", credentials, zhangsan[:len(zhangsan)-4]+"AAAA", `{}`)
	p.call("with a token that expired", "POST", credentials, p.old, `{}`)
	p.call("with a launch token", "POST", credentials, p.launch, `{}`)
	p.call("a launch token that is none", "POST", "/api/v1/workload-tokens", "nonsense", `{}`)
	p.call("no launch token", "POST", "/api/v1/workload-tokens", "", `{}`)
	p.call("no such endpoint", "GET", "/api/v1/nothing", zhangsan, "")
	p.call("no such method", "GET", credentials, zhangsan, "")
	p.call("no JSON", "POST", credentials, zhangsan, `{"provider":`)
	p.call("no object", "POST", credentials, zhangsan, `[]`)
	p.call("more JSON", "POST", credentials, zhangsan, `{"provider":"weather"}{}`)
	p.call("a field that there is not", "POST", credentials, zhangsan, `{"supplier":"weather"}`)
	p.call("a field of another type", "POST", credentials, zhangsan, `{"provider":7}`)
	p.call("too much", "POST", credentials, zhangsan, `{"provider":"`+strings.Repeat("x", 64<<10)+`"}`)
	p.callWith("as a form", "POST", credentials, "provider=weather", http.Header{"Authorization": {"Bearer " + zhangsan}, "Content-Type": {"application/x-www-form-urlencoded"}})
	p.call("of no provider", "POST", credentials, zhangsan, `{}`)
	p.call("of a provider that there is not", "POST", credentials, zhangsan, `{"provider":"no-such-provider"}`)
	p.call("clear one that there is not", "DELETE", credentials+"/no-such-provider", zhangsan, "")
	p.call("of a user's, for nobody", "POST", credentials, p.wat(""), `{"provider":"feishu_oauth"}`)
}

// follow follows an authorization, and when it is told to, writes down what it
// was told until the end. The state exchanging may be over before anybody looks.
func (p *peer) follow(path, token string) (done func()) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), "GET", p.url+path, nil)
	must(p.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultTransport.RoundTrip(r)
	must(p.t, err)
	lines := bufio.NewReader(res.Body)
	read := func() string {
		var event strings.Builder
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return ""
			}
			switch data, isData := strings.CutPrefix(line, "data: "); {
			case isData:
				event.WriteString(shape(p.t, data))
			case line == "\n" && event.Len() > 0:
				return event.String()
			case strings.HasPrefix(line, "event: "):
				event.WriteString(strings.TrimSpace(line) + " ")
			}
		}
	}
	begun := read() // whoever follows hears the present state first
	p.said = append(p.said, fmt.Sprintf("events: %d %s %s %s", res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Cache-Control"), begun))
	return func() {
		p.t.Helper()
		defer res.Body.Close()
		for event := read(); event != ""; event = read() {
			if !strings.Contains(event, `"exchanging"`) {
				p.said = append(p.said, "events: "+event)
			}
		}
	}
}

// withSDK does the same through the SDK's client.
func (p *peer) withSDK() {
	t, ctx := p.t, p.t.Context()
	c := &deputy.Client{URL: p.url, TokenFile: filepath.Join(t.TempDir(), "launch")}
	must(t, writeFile(c.TokenFile, p.launch))
	said := func(what string, v any, err error) {
		p.said = append(p.said, fmt.Sprintf("%s: %v %s", what, v, outcome(err)))
	}
	zhangsan := deputy.NewSecret(p.wat("zhangsan"))
	who, err := c.Verify(ctx, zhangsan)
	said("verify", who.User == p.user("zhangsan") && strings.HasSuffix(who.Workload, "/default/a") == strings.HasSuffix(who.Workload, "/a"), err)
	feishu := deputy.OAuth2("feishu_oauth", readDoc)

	var need *deputy.ConsentRequired
	_, err = c.Token(ctx, zhangsan, feishu, false)
	said("token", errors.As(err, &need), err)
	var states []deputy.State
	told := make(chan struct{})
	go func() {
		defer close(told)
		p.decide("zhangsan", authorization{ID: need.Authorization.ID, URL: need.Authorization.URL}, true)
	}()
	err = c.Follow(ctx, zhangsan, need.Authorization, func(a deputy.Authorization) {
		if a.State != deputy.Exchanging && a.State != deputy.Redirected { // they may be over before anybody looks
			states = append(states, a.State)
		}
	})
	<-told
	said("follow", states, err)
	token, err := c.Token(ctx, zhangsan, feishu, false)
	said("token", fmt.Sprint(token.Type, token.Header, token.Scopes, token.Value.Empty(), token.Expires.IsZero()), err)
	same, err := c.Replacement(ctx, zhangsan, feishu, deputy.AccessToken{Value: deputy.NewSecret("another")})
	said("replacement", same.Value.Reveal() == token.Value.Reveal(), err)

	_, err = c.Token(ctx, zhangsan, feishu, true)
	said("by force", errors.As(err, &need), err)
	p.decide("zhangsan", authorization{ID: need.Authorization.ID, URL: need.Authorization.URL}, false)
	said("wait", "", c.Wait(ctx, zhangsan, need.Authorization))
	said("clear", "", c.Clear(ctx, zhangsan, "feishu_oauth"))
	_, err = c.Token(ctx, zhangsan, feishu, false)
	said("token", errors.As(err, &need), err)
	said("somebody else's", "", c.Wait(ctx, deputy.NewSecret(p.wat("lisi")), need.Authorization))
	_, err = c.Keys(ctx, zhangsan, "weather")
	said("keys", "", err)
	key, err := c.Token(ctx, zhangsan, deputy.APIKey("weather"), false)
	said("key", key.Header+key.Value.Reveal(), err)
	login, err := c.Token(ctx, zhangsan, deputy.Basic("wiki"), false)
	said("login", login.Type+login.User+login.Value.Reveal(), err)
	_, err = c.Token(ctx, zhangsan, deputy.OAuth2("no-such-provider"), false)
	said("no provider", "", err)

	own, _, err := c.WorkloadToken(ctx, deputy.Secret{})
	said("own token", own.Empty(), err)
	who, err = c.Verify(ctx, own)
	said("verify", who.User, err)
	_, err = c.Token(ctx, own, feishu, false)
	said("token for nobody", "", err)
	asserted, _, err := c.WorkloadTokenFor(ctx, p.user("lisi"))
	said("token for lisi", "", err)
	who, err = c.Verify(ctx, asserted)
	said("verify", who.User == p.user("lisi"), err)
	call, err := c.CallToken(ctx, zhangsan, "b")
	said("call token", fmt.Sprint(call.Token.Empty(), strings.HasSuffix(call.URL, "/agents/default/b")), err)
	_, err = c.CallToken(ctx, zhangsan, "nobody")
	said("call token", "", err)
}

// outcome is what a program reads of an error of the SDK.
func outcome(err error) string {
	var (
		refusal  *deputy.Error
		need     *deputy.ConsentRequired
		declined *deputy.AuthorizationError
	)
	switch {
	case errors.As(err, &refusal):
		return fmt.Sprint(refusal.Status, " ", refusal.Code, " ", refusal.RequestID != "")
	case errors.As(err, &need):
		a := need.Authorization
		return fmt.Sprint("consent ", a.State, " ", a.Provider, " ", a.Scopes, " ", a.Expires.IsZero())
	case errors.As(err, &declined):
		return fmt.Sprint(declined.State, " ", declined.Reason, " ", declined.Provider)
	}
	return fmt.Sprint(err)
}

func writeFile(name, content string) error { return os.WriteFile(name, []byte(content), 0o600) }
