package main_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/measure"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/visitor"
)

const (
	// callers are the browsers and applications of a benchmark. What they want at the same time is committed together.
	callers     = 16
	password    = "correct horse battery staple"
	redirectURI = "http://127.0.0.1:9/callback"
)

// pool is a `deputy serve` on one core, with a user pool that has the user
// zhangsan and one client.
type pool struct {
	*served
	data           string
	client, secret string
}

func newPool(b *testing.B, program string) *pool {
	b.Helper()
	data := filepath.Join(b.TempDir(), "data")
	p := &pool{served: serve(b, program, data, "GOMAXPROCS=1"), data: data}
	b.Cleanup(p.stop)
	var made struct{ ID, Secret string }
	p.make("/user-pools", `{"name":"people"}`, &made)
	p.make("/user-pools/people/users", `{"userName":"zhangsan","password":"`+password+`"}`, &made)
	p.make("/user-pools/people/clients", `{"name":"chat","redirectUris":["`+redirectURI+`"]}`, &made)
	p.client, p.secret = made.ID, made.Secret
	return p
}

// make creates something as the operator.
func (p *pool) make(path, body string, into any) {
	p.b.Helper()
	token, err := os.ReadFile(filepath.Join(p.data, "operator.token"))
	p.must(err)
	r, err := http.NewRequestWithContext(p.b.Context(), "POST", p.url+"/api/v1"+path, strings.NewReader(body))
	p.must(err)
	r.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	p.must(err)
	defer resp.Body.Close() // read to its end
	answer, err := io.ReadAll(resp.Body)
	p.must(err)
	if resp.StatusCode != http.StatusCreated {
		p.b.Fatalf("%s: %d %s", path, resp.StatusCode, answer)
	}
	p.must(json.Unmarshal(answer, into))
}

func (p *pool) must(err error) {
	p.b.Helper()
	if err != nil {
		p.b.Fatal(err)
	}
}

// application is a client that logs somebody in again and again. It does what
// a client has to, and no more.
type application struct {
	pool    *pool
	browser *http.Client
	refresh string // the newest refresh token
}

// applications returns applications whose people have logged in and consented.
func (p *pool) applications(who func(caller int) string) []*application {
	p.b.Helper()
	list := make([]*application, callers)
	for i := range list {
		person, err := visitor.New()
		p.must(err)
		stay := func(next *url.URL) bool { return !strings.HasPrefix(next.String(), redirectURI) }
		at, err := person.Get(p.b.Context(), p.authorize(), stay)
		p.must(err)
		login, err := at.Find("username", "password")
		p.must(err)
		at, err = person.Submit(p.b.Context(), at, login, url.Values{"username": {who(i)}, "password": {password}}, "", "", stay)
		p.must(err)
		if consent, err := at.Find("decision"); err == nil {
			_, err = person.Submit(p.b.Context(), at, consent, nil, "decision", "allow", stay)
			p.must(err)
		}
		list[i] = &application{pool: p, browser: person.HTTP}
	}
	return list
}

func (p *pool) authorize() string {
	return p.url + "/userpool/people/authorize?" + url.Values{
		"client_id": {p.client}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {"s1"},
	}.Encode()
}

// code is the whole code flow of somebody who is logged in and whose consent is
// remembered: two requests, the second one with the client's secret.
func (a *application) code() error {
	resp, err := a.browser.Get(a.pool.authorize())
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if err != nil {
		return err
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return err
	}
	return a.redeem(url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {redirectURI}})
}

// again refreshes.
func (a *application) again() error {
	return a.redeem(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.refresh}})
}

func (a *application) redeem(form url.Values) error {
	form.Set("client_id", a.pool.client)
	form.Set("client_secret", a.pool.secret)
	resp, err := a.browser.PostForm(a.pool.url+"/userpool/people/oauth/token", form)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return err
	}
	var got struct {
		Access  string `json:"access_token"`
		ID      string `json:"id_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(b, &got); err != nil || got.Access == "" || got.ID == "" || got.Refresh == "" {
		return fmt.Errorf("status %d: %s", resp.StatusCode, b)
	}
	a.refresh = got.Refresh
	return nil
}

// load has all applications do something n times. It returns how many there
// were in a second, and the processor time of the server for one, in
// microseconds.
func (p *pool) load(n int, request func(caller int) error) (rate, micros float64) {
	p.b.Helper()
	begin := p.processor()
	l, err := measure.Run(callers, n, request)
	p.must(err)
	return l.Rate, float64((p.processor() - begin).Microseconds()) / float64(n)
}

// BenchmarkLogin measures the code flow for somebody who has a session and whose
// consent is remembered, and refreshes, against one password hash with the
// default parameters, which is what a login cannot cost less than. The server is a
// process of its own on one core, with SQLite and durable audit entries; its
// processor time counts, that of the clients does not. It reports
//
//	hash/code   processor time of one password hash over that of one code flow
//	hash-us, code-us, refresh-us   processor time of each
//	code/core, refresh/core   how many one core can do in a second
//	refresh/s   how many there were in a second, clients and disk included
//
// Run it with -benchtime 5x: five turns of each.
func BenchmarkLogin(b *testing.B) {
	p := newPool(b, build(b))
	apps := p.applications(func(int) string { return "zhangsan" })
	code := func(caller int) error { return apps[caller].code() }
	refresh := func(caller int) error { return apps[caller].again() }
	hasher, word := userpool.NewHasher(1), secret.FromString(password)
	p.load(500, code) // warm up
	var ratios, hashes, codes, refreshes, rates []float64
	for b.Loop() {
		h, err := measure.Run(1, 30, func(int) error {
			_, err := hasher.Hash(b.Context(), word)
			return err
		})
		p.must(err)
		_, c := p.load(2000, code)
		rate, r := p.load(2000, refresh)
		hash := float64(h.CPU) / float64(time.Microsecond)
		ratios, hashes, codes, refreshes, rates = append(ratios, hash/c), append(hashes, hash), append(codes, c), append(refreshes, r), append(rates, rate)
	}
	b.ReportMetric(measure.Median(ratios), "hash/code")
	b.ReportMetric(measure.Median(hashes), "hash-us")
	b.ReportMetric(measure.Median(codes), "code-us")
	b.ReportMetric(measure.Median(refreshes), "refresh-us")
	b.ReportMetric(1e6/measure.Median(codes), "code/core")
	b.ReportMetric(1e6/measure.Median(refreshes), "refresh/core")
	b.ReportMetric(measure.Median(rates), "refresh/s")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

// BenchmarkUsers measures what a code flow, and finding a user by name, cost in
// pools of a thousand, a hundred thousand and a million users, in turns, and
// reports
//
//	code-x, find-x   processor time in the largest pool over that in the smallest (median of the turns)
//	code-us, find-us   processor time in the largest pool
//
// Making the pools takes a minute. Run it with -benchtime 5x.
func BenchmarkUsers(b *testing.B) {
	program, sizes := build(b), []int{1e3, 1e5, 1e6}
	pools, codes, finds := make([]*pool, len(sizes)), make([]func(int) error, len(sizes)), make([]func(int) error, len(sizes))
	for i, size := range sizes {
		p := newPool(b, program)
		p.populate(size)
		apps := p.applications(func(caller int) string { return fmt.Sprintf("u%d", caller*(size/callers)) })
		pools[i], codes[i], finds[i] = p, func(caller int) error { return apps[caller].code() }, p.finder(size)
		p.load(500, codes[i]) // warm up
	}
	largest := len(sizes) - 1
	var codeRatios, findRatios, codeTimes, findTimes []float64
	for b.Loop() {
		var code, find [3]float64
		for i, p := range pools {
			_, code[i] = p.load(2000, codes[i])
			found, err := measure.Run(callers, 10000, finds[i])
			p.must(err)
			find[i] = float64(found.CPU) / float64(time.Microsecond)
		}
		codeRatios, findRatios = append(codeRatios, code[largest]/code[0]), append(findRatios, find[largest]/find[0])
		codeTimes, findTimes = append(codeTimes, code[largest]), append(findTimes, find[largest])
	}
	b.ReportMetric(measure.Median(codeRatios), "code-x")
	b.ReportMetric(measure.Median(findRatios), "find-x")
	b.ReportMetric(measure.Median(codeTimes), "code-us")
	b.ReportMetric(measure.Median(findTimes), "find-us")
	b.ReportMetric(0, "ns/op") // a turn is no operation
}

// populate gives the pool n users with zhangsan's password, behind the server's
// back: u0, u1 and so on.
func (p *pool) populate(n int) {
	p.b.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(p.data, "deputy.db")+"?_pragma=busy_timeout(10000)")
	p.must(err)
	defer db.Close()
	var columns, values []string
	rows, err := db.Query(`SELECT name FROM pragma_table_info('users')`)
	p.must(err)
	defer rows.Close()
	for rows.Next() {
		var column string
		p.must(rows.Scan(&column))
		value := column
		switch column {
		case "id":
			value = `'usr_' || lower(hex(randomblob(13)))`
		case "login_name", "user_name":
			value = `'u' || n`
		}
		columns, values = append(columns, column), append(values, value)
	}
	p.must(rows.Err())
	_, err = db.Exec(`WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?)
		INSERT INTO users (`+strings.Join(columns, ", ")+`) SELECT `+strings.Join(values, ", ")+` FROM numbers, users WHERE login_name = 'zhangsan'`, n)
	p.must(err)
}

// finder returns a function that finds users by their names, which lie far apart.
func (p *pool) finder(size int) func(caller int) error {
	p.b.Helper()
	db, err := store.OpenSQLite(p.b.Context(), p.data)
	p.must(err)
	p.b.Cleanup(func() { p.must(db.Close()) })
	users := store.UserPools{DB: db}
	var next [callers]int
	return func(caller int) error {
		next[caller] = (next[caller] + caller + 7919) % size
		_, err := users.UserByName(p.b.Context(), "people", fmt.Sprintf("u%d", next[caller]))
		return err
	}
}
