package server_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

// TestIsolation plays random sequences of what agents, people and operators do,
// thieves among them. Whatever came before: a credential is given only to an agent
// that this very person allowed, and it opens this person's account. Nothing is left
// of a person, an agent or a provider that is deleted.
func TestIsolation(t *testing.T) {
	given := 0
	t.Run("sqlite", func(t *testing.T) { given += isolate(t, secret.Text{}, "12") })
	t.Run("postgres", func(t *testing.T) { given += isolate(t, secret.FromString(storetest.Postgres(t).URL(t)), "6") })
	if given < 5 {
		t.Errorf("only %d credentials were given in all sequences", given)
	}
}

// isolate plays as many sequences as checks says, unless a flag says otherwise,
// and returns how many credentials were given.
func isolate(t *testing.T, database secret.Text, checks string) (given int) {
	for option, value := range map[string]string{"rapid.checks": checks, "rapid.steps": "40"} {
		if f := flag.Lookup(option); f.Value.String() == f.DefValue {
			must(t, flag.Set(option, value))
			defer func() { must(t, flag.Set(option, f.DefValue)) }()
		}
	}
	w := newWorld(t, func(c *server.Config) { c.Database = database })
	w.make("/workload-pools", `{"name":"other"}`, nil)
	w.make("/workload-pools/other/providers", w.provider("feishu_oauth", readDoc, "offline_access"), nil)
	people := map[string]*person{}
	for _, who := range everybody {
		people[who] = w.person(who).logIn()
	}
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlay(w, people)
		rt.Repeat(map[string]func(*rapid.T){
			"ask": p.ask, "open": p.open, "open somebody's": p.openAnothers, "consent": p.consent, "come back": p.comeBack, "come back as another": p.comeBackAsAnother,
			"bring another's code": p.inject, "send another's form": p.sendAnothersForm, "authorize": p.authorize, "clear": p.clear, "read": p.read,
			"ask from another pool": p.askElsewhere, "tamper": p.tamper, "pass time": p.passTime, "end a person's grants": p.end, "make an agent anew": p.remakeAgent,
			"make the provider anew": p.remakeProvider, "rotate keys": p.rotate, "delete a person": p.deletePerson, "disable a person": p.disablePerson,
			"alter a grant": p.alter, "": func(*rapid.T) {},
		})
		given += p.given
	})
	return given
}

var everybody = []string{"zhangsan", "lisi"}

// pair is an agent and the person it acts for.
type pair struct{ agent, who string }

// ticket is one authorization that is under way.
type ticket struct {
	pair
	id, link string
	at       string // Feishu's page that the link led to
	back     string // where Feishu sent the browser
}

// play is one sequence.
type play struct {
	w       *world
	people  map[string]*person
	agents  []string
	allowed map[pair]bool
	tickets []*ticket
	given   int
}

func newPlay(w *world, people map[string]*person) *play {
	p := &play{w: w, people: people, allowed: map[pair]bool{}}
	for range 2 {
		agent := name.NewID("agent")
		for _, pool := range []string{"default", "other"} {
			w.make("/workload-pools/"+pool+"/workloads", fmt.Sprintf(`{"name":%q}`, agent), nil)
		}
		p.agents = append(p.agents, agent)
	}
	for _, who := range everybody { // what the sequence before left; the agents are new
		p.endGrants(who)
	}
	return p
}

func (p *play) pair(t *rapid.T) pair {
	return pair{rapid.SampledFrom(p.agents).Draw(t, "agent"), rapid.SampledFrom(everybody).Draw(t, "person")}
}

func (p *play) other(who string) *person {
	if who == "lisi" {
		return p.people["zhangsan"]
	}
	return p.people["lisi"]
}

// ticket draws one that is good for the step, or skips the step.
func (p *play) ticket(t *rapid.T, good func(*ticket) bool) *ticket {
	var those []*ticket
	for _, k := range p.tickets {
		if good(k) {
			those = append(those, k)
		}
	}
	if len(those) == 0 {
		t.Skip("none")
	}
	return those[rapid.IntRange(0, len(those)-1).Draw(t, "ticket")]
}

func every(*ticket) bool            { return true }
func redirected(k *ticket) bool     { return k.at != "" && k.back == "" }
func returning(k *ticket) bool      { return k.back != "" }
func (p *play) drop(gone *ticket)   { p.tickets = without(p.tickets, gone) }
func (p *play) token(x pair) string { return p.w.wat(x.agent, x.who) }

func without(all []*ticket, gone *ticket) []*ticket {
	var rest []*ticket
	for _, k := range all {
		if k != gone {
			rest = append(rest, k)
		}
	}
	return rest
}

func (p *play) ask(t *rapid.T) {
	x := p.pair(t)
	scopes := rapid.SampledFrom([][]string{nil, {readDoc}, {writeDoc}, {readDoc, writeDoc}}).Draw(t, "scopes")
	got := p.w.ask(p.token(x), "feishu_oauth", scopes...)
	if got.Status != "ready" {
		p.tickets = append(p.tickets, &ticket{pair: x, id: got.Authorization.ID, link: got.Authorization.URL})
		return
	}
	p.given++
	if owner := p.w.owner(got.Credential.AccessToken); owner != x.who || !p.allowed[x] {
		t.Fatalf("%v got a credential of %q; allowed: %v", x, owner, p.allowed[x])
	}
}

// open follows a link as the person that it is for, and answers Deputy's own
// page if that is what comes.
func (p *play) open(t *rapid.T) {
	k := p.ticket(t, every)
	who := p.people[k.who]
	shown := who.get(k.link)
	switch {
	case shown.status == http.StatusFound:
		k.at = shown.header.Get("Location")
	case shown.status == http.StatusOK:
		decision := rapid.SampledFrom([]string{"allow", "allow", "deny"}).Draw(t, "decision")
		action, form := who.fill(shown, "decision", "decision", decision)
		p.settle(k, who.post(action, form))
	default:
		p.drop(k) // used, or its grant changed
	}
}

// settle notes what a step of the right person led to.
func (p *play) settle(k *ticket, a answer) {
	p.drop(k)
	if a.status == http.StatusSeeOther && strings.Contains(p.people[k.who].get(a.header.Get("Location")).body, ">Authorized<") {
		p.allowed[k.pair] = true
	}
}

func (p *play) openAnothers(t *rapid.T) {
	k := p.ticket(t, every)
	if shown := p.other(k.who).get(k.link); shown.status < 400 {
		t.Fatalf("the link of %v in another's browser: %d %s", k.pair, shown.status, shown.header.Get("Location"))
	}
}

func (p *play) consent(t *rapid.T) {
	k := p.ticket(t, redirected)
	k.back = p.people[k.who].decide(k.at, rapid.SampledFrom([]string{"allow", "allow", "allow", "deny"}).Draw(t, "decision"))
}

func (p *play) comeBack(t *rapid.T) {
	k := p.ticket(t, returning)
	p.settle(k, p.people[k.who].get(k.back))
}

// authorize is the whole way at once.
func (p *play) authorize(t *rapid.T) {
	p.ask(t)
	p.open(t)
	p.consent(t)
	p.comeBack(t)
	p.ask(t)
}

func (p *play) comeBackAsAnother(t *rapid.T) {
	k := p.ticket(t, returning)
	if shown := p.other(k.who).get(k.back); shown.status < 400 {
		t.Fatalf("the callback of %v in another's browser: %d", k.pair, shown.status)
	}
}

// inject brings the code of one authorization with the state of another.
func (p *play) inject(t *rapid.T) {
	k := p.ticket(t, returning)
	stolen := p.ticket(t, func(other *ticket) bool { return returning(other) && other.id != k.id })
	from, err := url.Parse(stolen.back)
	must(p.w.t, err)
	to, err := url.Parse(k.back)
	must(p.w.t, err)
	q := to.Query()
	if !from.Query().Has("code") || !q.Has("code") {
		t.Skip("declined")
	}
	q.Set("code", from.Query().Get("code"))
	to.RawQuery = q.Encode()
	who := p.people[k.who]
	shown := who.get(to.String())
	if shown.status == http.StatusSeeOther && strings.Contains(who.get(shown.header.Get("Location")).body, ">Authorized<") {
		t.Fatalf("the code of %v was taken for %v", stolen.pair, k.pair)
	}
	p.drop(k)
}

// sendAnothersForm answers the page of one person from the browser of another.
func (p *play) sendAnothersForm(t *rapid.T) {
	k := p.ticket(t, every)
	shown := p.people[k.who].get(k.link)
	if shown.status == http.StatusFound {
		k.at = shown.header.Get("Location")
	}
	if shown.status != http.StatusOK {
		t.Skip("no page")
	}
	action, form := p.people[k.who].fill(shown, "decision", "decision", "allow")
	if form.Get(browser.FormField) == "" {
		t.Fatal("the form has no token")
	}
	if got := p.other(k.who).post(action, form); got.status < 400 {
		t.Fatalf("the form of %v from another's browser: %d", k.pair, got.status)
	}
}

func (p *play) clear(t *rapid.T) {
	x := p.pair(t)
	p.w.clear(p.token(x))
	delete(p.allowed, x)
}

// read looks at an authorization as anybody.
func (p *play) read(t *rapid.T) {
	k, x := p.ticket(t, every), p.pair(t)
	got := p.w.api("GET", "/authorizations/"+k.id, p.token(x), "")
	if want := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[x == k.pair]; got.status != want {
		t.Fatalf("%v reads the authorization of %v: %d", x, k.pair, got.status)
	}
}
