package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/deputy-id/deputy/internal/name"
)

// What operators, time and forgers do in the sequences of TestIsolation.

// do calls the API as the operator, and wants it to work.
func (p *play) do(method, path string) string {
	p.w.t.Helper()
	got := p.w.api(method, path, p.w.operator, "")
	if got.status/100 != 2 {
		p.w.t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
	}
	return got.body
}

// endGrants deletes what a person granted in the pool default.
func (p *play) endGrants(who string) {
	var list struct {
		Items []struct {
			ID   string
			User struct{ Issuer, Subject string }
		}
	}
	must(p.w.t, json.Unmarshal([]byte(p.do("GET", "/workload-pools/default/grants")), &list))
	for _, g := range list.Items {
		if g.User.Subject == p.w.subject[who] {
			p.do("DELETE", "/workload-pools/default/grants/"+g.ID)
		}
	}
	for _, agent := range p.agents {
		delete(p.allowed, pair{agent, who})
	}
}

func (p *play) end(t *rapid.T) { p.endGrants(rapid.SampledFrom(everybody).Draw(t, "person")) }

// askElsewhere asks as the agent of the same name in another pool, for the provider of the same name there.
func (p *play) askElsewhere(t *rapid.T) {
	x := p.pair(t)
	p.token(x) // the minter is there
	token := p.w.mint(p.w.minter, name.Workload{Pool: "other", Name: x.agent}, x.who)
	if got := p.w.ask(token, "feishu_oauth"); got.Status == "ready" {
		t.Fatalf("%v got a credential in another pool", x)
	}
}

// tamper puts what one token says under the signature of another.
func (p *play) tamper(t *rapid.T) {
	x, y := p.pair(t), p.pair(t)
	if x == y {
		t.Skip("the same")
	}
	says, signed := strings.Split(p.token(x), "."), strings.Split(p.token(y), ".")
	forged := strings.Join([]string{says[0], says[1], signed[2]}, ".")
	if got := p.w.api("POST", "/credentials", forged, `{"provider":"feishu_oauth"}`); got.status != http.StatusUnauthorized {
		t.Fatalf("a forged token: %d %s", got.status, got.body)
	}
}

// passTime has tokens and whatever is under way expire, so that tokens are refreshed.
func (p *play) passTime(*rapid.T) {
	p.w.clock.pass(3 * time.Hour)
	p.tickets = nil
	for _, who := range everybody {
		p.people[who] = p.w.person(who).logIn()
	}
}

// stale follows what is left of tickets whose agent or provider is gone: nothing comes of it.
func (p *play) stale(t *rapid.T, gone func(*ticket) bool) {
	for _, k := range p.tickets {
		if !gone(k) {
			continue
		}
		p.drop(k)
		target := k.link
		if returning(k) {
			target = k.back
		}
		if shown := p.people[k.who].get(target); shown.status < 400 {
			t.Fatalf("a step of %v that is gone: %d", k.pair, shown.status)
		}
	}
}

// remakeAgent makes an agent of the name of one that was deleted; it inherits nothing.
func (p *play) remakeAgent(t *rapid.T) {
	agent := rapid.SampledFrom(p.agents).Draw(t, "agent")
	p.ending(t, func(h holding) bool { return h.Workload == agent }, func() { p.do("DELETE", "/workload-pools/default/workloads/"+agent) })
	p.w.make("/workload-pools/default/workloads", fmt.Sprintf(`{"name":%q}`, agent), nil)
	for _, who := range everybody {
		delete(p.allowed, pair{agent, who})
	}
	p.stale(t, func(k *ticket) bool { return k.agent == agent })
}

// remakeProvider makes a provider of the name of one that was deleted; it inherits nothing.
func (p *play) remakeProvider(t *rapid.T) {
	p.ending(t, func(holding) bool { return true }, func() { p.do("DELETE", providerPath) })
	p.w.make("/workload-pools/default/providers", p.w.provider("feishu_oauth", readDoc, "offline_access"), nil)
	clear(p.allowed)
	p.stale(t, every)
}

// rotate makes new data keys, and seals some records anew.
func (p *play) rotate(*rapid.T) {
	p.do("POST", "/data-keys")
	p.do("POST", "/data-keys/reseal")
}
