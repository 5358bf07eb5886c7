package server_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/deputy-id/deputy/internal/name"
)

// What ends in the sequences of TestIsolation, and what is left of it: nothing
// here, and at the third party a try to revoke it. And what nobody may do to the
// database without its being noticed.

// holding is what one agent may use of one grant.
type holding struct {
	Grant, Workload string
	User            struct{ Issuer, Subject string }
}

// holdings are those of the pool default.
func (p *play) holdings() []holding {
	p.w.t.Helper()
	var list struct{ Items []holding }
	must(p.w.t, json.Unmarshal([]byte(p.do("GET", "/workload-pools/default/delegations?limit=500")), &list))
	return list.Items
}

// ending notes which grants end with those holdings that go, does it, and wants
// nothing left of them: no delegation, no grant, and a record of what became of the
// tokens at the third party. All others must be as they were.
func (p *play) ending(t *rapid.T, goes func(holding) bool, do func()) {
	before := p.holdings()
	stay := slices.DeleteFunc(slices.Clone(before), goes)
	ended := map[string]bool{}
	for _, h := range before {
		ended[h.Grant] = !slices.ContainsFunc(stay, func(other holding) bool { return other.Grant == h.Grant })
	}
	do()
	if after := p.holdings(); !slices.Equal(after, stay) {
		t.Fatalf("what agents may use was\n%+v\nand is\n%+v", before, after)
	}
	for grant, gone := range ended {
		want := map[bool]int{true: http.StatusNotFound, false: http.StatusOK}[gone]
		if got := p.w.api("GET", "/workload-pools/default/grants/"+grant, p.w.operator, ""); got.status != want {
			t.Fatalf("grant %s, gone %v: %d", grant, gone, got.status)
		}
		if gone {
			p.triedUpstream(t, grant)
		}
	}
}

// triedUpstream waits for the record of what became of a grant's tokens.
func (p *play) triedUpstream(t *rapid.T, grant string) {
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		for _, e := range p.w.entries(url.Values{"action": {"grant.revoke-upstream"}, "newest": {"true"}}) {
			if e.Resource.ID == grant {
				return
			}
		}
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("nobody tried to revoke the tokens of %s", grant)
		}
	}
}

func (p *play) userPath(who string) string { return "/user-pools/people/users/" + p.w.subject[who] }

// deletePerson deletes a person, who comes back with the same name and is
// another: he has nothing of the former one's, and nobody acts for that one.
func (p *play) deletePerson(t *rapid.T) {
	who := rapid.SampledFrom(everybody).Draw(t, "person")
	former, tokens := p.w.subject[who], map[string]string{}
	for _, agent := range p.agents {
		tokens[agent] = p.token(pair{agent, who})
	}
	p.ending(t, func(h holding) bool { return h.User.Subject == former }, func() { p.do("DELETE", p.userPath(who)) })
	for agent, token := range tokens {
		if got := p.w.api("POST", "/credentials", token, `{"provider":"feishu_oauth"}`); got.status != http.StatusUnauthorized {
			t.Fatalf("%s acts for a %s who is gone: %d %s", agent, who, got.status, got.body)
		}
		delete(p.allowed, pair{agent, who})
	}
	p.nobody(t, who)
	var made struct{ ID string }
	p.w.make("/user-pools/people/users", fmt.Sprintf(`{"userName":%q,"password":%q}`, who, password), &made)
	p.w.subject[who], p.people[who] = made.ID, p.w.person(who).logIn()
	p.stale(t, func(k *ticket) bool { return k.who == who })
}

// disablePerson disables a person for a while. His browser is nobody's then, and
// he cannot log in, and no agent acts for him; what he granted before is left as it is.
func (p *play) disablePerson(t *rapid.T) {
	who := rapid.SampledFrom(everybody).Draw(t, "person")
	disable := func(yes bool) {
		if got := p.w.api("PATCH", p.userPath(who), p.w.operator, fmt.Sprintf(`{"disabled":%v}`, yes)); got.status != http.StatusOK {
			t.Fatalf("disabled %v: %d %s", yes, got.status, got.body)
		}
	}
	p.ending(t, func(holding) bool { return false }, func() { disable(true) })
	for _, agent := range p.agents {
		if got := p.w.api("POST", "/credentials", p.token(pair{agent, who}), `{"provider":"feishu_oauth"}`); got.status != http.StatusUnauthorized {
			t.Fatalf("%s acts for a %s who is disabled: %d %s", agent, who, got.status, got.body)
		}
	}
	p.nobody(t, who)
	again := p.w.person(who)
	action, form := again.fill(again.get("/userpool/people/login"), "username", "username", who, "password", password)
	if in := again.post(action, form); strings.Contains(in.body, "logged in") {
		t.Fatalf("%s is disabled and has logged in", who)
	}
	disable(false)
	p.people[who] = p.w.person(who).logIn()
}

// nobody follows the person's links with the browser in which he was logged in:
// it gets nowhere, and his authorizations that were at the third party end.
func (p *play) nobody(t *rapid.T, who string) {
	browser := p.people[who]
	for _, k := range p.tickets {
		if k.who != who {
			continue
		}
		target := k.link
		if returning(k) {
			target = k.back
			p.drop(k)
		}
		shown := browser.get(target)
		to := shown.header.Get("Location")
		if shown.status == http.StatusOK || strings.HasPrefix(to, p.w.party.URL) || to != "" && strings.Contains(browser.get(to).body, ">Authorized<") {
			t.Fatalf("a step of %v by nobody: %d %s\n%s", k.pair, shown.status, to, shown.body)
		}
	}
}

// alter changes one byte of what is sealed of a person's grant, in the database.
// Nobody gets a credential of it, nobody else notices, and when it is as it was,
// so is everything.
func (p *play) alter(t *rapid.T) {
	who := rapid.SampledFrom(everybody).Draw(t, "person")
	statuses := func() map[pair]string {
		got := map[pair]string{}
		for _, agent := range p.agents {
			for _, of := range everybody {
				a := p.w.api("POST", "/credentials", p.token(pair{agent, of}), `{"provider":"feishu_oauth","scopes":["`+readDoc+`"]}`)
				var answer struct {
					Status any // of a fault, a number
					Code   string
				}
				must(p.w.t, json.Unmarshal([]byte(a.body), &answer))
				got[pair{agent, of}] = strings.TrimSpace(fmt.Sprint(answer.Status, " ", answer.Code))
			}
		}
		return got
	}
	before := statuses()
	db := p.w.raw()
	defer func() { must(p.w.t, db.Close()) }()
	var id string
	var sealed []byte
	err := db.QueryRowContext(p.w.t.Context(), `SELECT id, sealed FROM grants WHERE pool = 'default' AND subject = $1`, p.w.subject[who]).Scan(&id, &sealed)
	if err == sql.ErrNoRows {
		t.Skip("no grant")
	}
	must(p.w.t, err)
	altered := slices.Clone(sealed)
	altered[rapid.IntRange(0, len(sealed)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	if !p.overwrite(db, id, sealed, altered) {
		t.Skip("it was refreshed in between")
	}
	for x, status := range statuses() {
		want := before[x]
		if x.who == who && want == "ready" {
			want = "500 seal_broken"
		}
		if status != want {
			t.Fatalf("while the grant of %s was altered, %v got %s, and %s before", who, x, status, before[x])
		}
	}
	if !p.overwrite(db, id, altered, sealed) {
		t.Fatalf("the altered grant of %s was written over", who)
	}
	for x, status := range statuses() {
		if status != before[x] {
			t.Fatalf("after the grant of %s was as before, %v got %s, and %s before", who, x, status, before[x])
		}
	}
}

// overwrite writes what is sealed of a grant behind Deputy's back, if it is as it
// was, and has Deputy forget what it remembers: a new pool may change everything.
func (p *play) overwrite(db *sql.DB, grant string, former, sealed []byte) bool {
	p.w.t.Helper()
	result, err := db.ExecContext(p.w.t.Context(), `UPDATE grants SET sealed = $1 WHERE id = $2 AND sealed = $3`, sealed, grant, former)
	must(p.w.t, err)
	n, err := result.RowsAffected()
	must(p.w.t, err)
	p.w.make("/workload-pools", fmt.Sprintf(`{"name":%q}`, strings.ReplaceAll(name.NewID("pool"), "_", "-")), nil)
	return n == 1
}

// raw opens the database beside the server, without its store.
func (w *world) raw() *sql.DB {
	w.t.Helper()
	if w.database.Empty() {
		return w.sqlite()
	}
	db, err := sql.Open("pgx", w.database.RevealString())
	must(w.t, err)
	return db
}
