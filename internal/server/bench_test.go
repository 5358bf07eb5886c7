package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/measure"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/userpool"
)

// callers are the browsers and applications of a benchmark. The server commits
// what they want at the same time in one transaction.
const callers = 16

// application is a client that logs somebody in again and again. It does what
// a client has to, and no more.
type application struct {
	w       *world
	browser *http.Client
	refresh string // the newest refresh token
}

// applications returns applications whose people have logged in and consented.
func (w *world) applications(n int, who func(int) string) []*application {
	w.t.Helper()
	list := make([]*application, n)
	for i := range list {
		p := w.person(who(i)).logIn()
		p.accessToken()
		list[i] = &application{w: w, browser: &http.Client{Jar: p.http.Jar, CheckRedirect: noRedirects.CheckRedirect, Transport: &http.Transport{}}}
		w.t.Cleanup(list[i].browser.CloseIdleConnections)
	}
	return list
}

// code is the whole code flow of somebody who is logged in and whose consent is
// remembered: two requests, the second one with the client's secret.
func (a *application) code() error {
	resp, err := a.browser.Get(a.w.url + a.w.askOpenID())
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
	return a.redeem(url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {clientURL}})
}

// again refreshes.
func (a *application) again() error {
	return a.redeem(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.refresh}})
}

func (a *application) redeem(form url.Values) error {
	form.Set("client_id", a.w.client)
	form.Set("client_secret", a.w.secret)
	resp, err := a.browser.PostForm(a.w.url+"/userpool/people/oauth/token", form)
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

func load(b *testing.B, n int, request func(caller int) error) measure.Load {
	b.Helper()
	l, err := measure.Run(callers, n, request)
	must(b, err)
	return l
}

// BenchmarkLogin measures the code flow for somebody who has a session and whose
// consent is remembered, and refreshes, against one password hash with the
// default parameters, which is what a login cannot cost less than. All run on one
// core, over HTTP, on SQLite, with durable audit entries; what the clients spend is
// included. It reports
//
//	hash/code   processor time of one password hash over that of one code flow
//	hash-us, code-us, refresh-us   processor time of each
//	code/s, refresh/s   how many there are in a second, on one core
//
// Run it with -benchtime 5x: five turns of each.
func BenchmarkLogin(b *testing.B) {
	w := newWorld(b, nil)
	apps := w.applications(callers, func(int) string { return "zhangsan" })
	code := func(caller int) error { return apps[caller].code() }
	refresh := func(caller int) error { return apps[caller].again() }
	hasher, word := userpool.NewHasher(1), secret.FromString(password)
	hash := func(int) error {
		_, err := hasher.Hash(b.Context(), word)
		return err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	load(b, 200, code) // warm up
	var ratios, hashes, codes, refreshes, codeRates, refreshRates []float64
	for b.Loop() {
		h, err := measure.Run(1, 30, hash)
		must(b, err)
		c, r := load(b, 2000, code), load(b, 2000, refresh)
		ratios = append(ratios, h.CPU.Seconds()/c.CPU.Seconds())
		hashes, codes, refreshes = append(hashes, h.CPU.Seconds()*1e6), append(codes, c.CPU.Seconds()*1e6), append(refreshes, r.CPU.Seconds()*1e6)
		codeRates, refreshRates = append(codeRates, c.Rate), append(refreshRates, r.Rate)
	}
	b.ReportMetric(measure.Median(ratios), "hash/code")
	b.ReportMetric(measure.Median(hashes), "hash-us")
	b.ReportMetric(measure.Median(codes), "code-us")
	b.ReportMetric(measure.Median(refreshes), "refresh-us")
	b.ReportMetric(measure.Median(codeRates), "code/s")
	b.ReportMetric(measure.Median(refreshRates), "refresh/s")
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
	sizes := []int{1e3, 1e5, 1e6}
	codes, finds := make([]func(int) error, len(sizes)), make([]func(int) error, len(sizes))
	for i, size := range sizes {
		w := newWorld(b, nil)
		w.populate(size)
		apps := w.applications(callers, func(caller int) string { return fmt.Sprintf("u%d", caller*(size/callers)) })
		codes[i] = func(caller int) error { return apps[caller].code() }
		db := w.open()
		b.Cleanup(func() { must(b, db.Close()) })
		finds[i] = finder(b, store.UserPools{DB: db}, size)
		load(b, 200, codes[i]) // warm up
	}
	largest := len(sizes) - 1
	var codeRatios, findRatios, codeTimes, findTimes []float64
	for b.Loop() {
		var code, find [3]float64
		for i := range sizes {
			code[i] = load(b, 1000, codes[i]).CPU.Seconds() * 1e6
			find[i] = load(b, 10000, finds[i]).CPU.Seconds() * 1e6
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

// populate gives the pool n users with zhangsan's password, by SQL: u0, u1 and so on.
func (w *world) populate(n int) {
	w.t.Helper()
	db := w.sqlite()
	defer db.Close()
	var columns, values []string
	rows, err := db.Query(`SELECT name FROM pragma_table_info('users')`)
	must(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var column string
		must(w.t, rows.Scan(&column))
		value := column
		switch column {
		case "id":
			value = `'usr_' || lower(hex(randomblob(13)))`
		case "login_name", "user_name":
			value = `'u' || n`
		}
		columns, values = append(columns, column), append(values, value)
	}
	must(w.t, rows.Err())
	_, err = db.Exec(`WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?)
		INSERT INTO users (`+strings.Join(columns, ", ")+`) SELECT `+strings.Join(values, ", ")+` FROM numbers, users WHERE login_name = 'zhangsan'`, n)
	must(w.t, err)
}

// finder returns a function that finds users by their names, which lie far apart.
func finder(b *testing.B, users userpool.Users, size int) func(int) error {
	var next [callers]int
	return func(caller int) error {
		next[caller] = (next[caller] + caller + 7919) % size
		_, err := users.UserByName(b.Context(), "people", fmt.Sprintf("u%d", next[caller]))
		return err
	}
}
