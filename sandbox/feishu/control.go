package feishu

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/deputy-id/deputy/sandbox/party"
)

// command is the body of every POST below /sandbox/. Each command reads its own fields.
type command struct {
	Operation    Operation `json:"operation"`
	Milliseconds int64     `json:"milliseconds"`
	Count        int       `json:"count"` // 0 means 1
	Enabled      bool      `json:"enabled"`
	Username     string    `json:"username"`
	Refusal      Refusal   `json:"refusal"`
}

// control serves the knobs over HTTP, for tests in other processes:
//
//	GET  /sandbox/calls                   {"exchange":1,…}
//	GET  /sandbox/issued                  [{"kind":"code","value":"…"},…]
//	POST /sandbox/latency                 {"operation":"refresh","milliseconds":200}
//	POST /sandbox/drop-next               {"operation":"refresh","count":1}
//	POST /sandbox/refuse-next             {"operation":"refresh","count":1,"refusal":{"code":20050}}
//	POST /sandbox/kill-on-rotate          {"enabled":true}
//	POST /sandbox/access-lifetime         {"milliseconds":3000}; 0 is the usual one
//	POST /sandbox/expire-access-tokens    {}
//	POST /sandbox/expire-refresh-tokens   {}
//	POST /sandbox/revoke                  {"username":"zhangsan"}
//	POST /sandbox/reset                   {}
//
// A POST answers 204, or 400 in plain text.
func (s *Sandbox) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sandbox/calls", func(w http.ResponseWriter, _ *http.Request) {
		s.writeJSON(w, http.StatusOK, s.Calls())
	})
	mux.HandleFunc("GET /sandbox/issued", func(w http.ResponseWriter, _ *http.Request) {
		s.writeJSON(w, http.StatusOK, s.Issued())
	})
	perOperation := func(do func(command)) http.HandlerFunc {
		return s.command(func(c command) string {
			if !slices.Contains(Operations(), c.Operation) {
				return "unknown operation"
			}
			do(c)
			return ""
		})
	}
	always := func(do func(command)) http.HandlerFunc {
		return s.command(func(c command) string { do(c); return "" })
	}
	mux.HandleFunc("POST /sandbox/latency", perOperation(func(c command) {
		s.SetLatency(c.Operation, time.Duration(min(c.Milliseconds, maxLatency.Milliseconds()))*time.Millisecond)
	}))
	mux.HandleFunc("POST /sandbox/drop-next", perOperation(func(c command) { s.DropNext(c.Operation, max(c.Count, 1)) }))
	mux.HandleFunc("POST /sandbox/refuse-next", perOperation(func(c command) {
		for range min(max(c.Count, 1), maxRefusals) {
			s.RefuseNext(c.Operation, c.Refusal)
		}
	}))
	mux.HandleFunc("POST /sandbox/kill-on-rotate", always(func(c command) { s.KillOnRotate(c.Enabled) }))
	mux.HandleFunc("POST /sandbox/access-lifetime", always(func(c command) {
		s.SetAccessLifetime(time.Duration(min(c.Milliseconds, AccessLifetime.Milliseconds())) * time.Millisecond)
	}))
	mux.HandleFunc("POST /sandbox/expire-access-tokens", always(func(command) { s.ExpireAccessTokens() }))
	mux.HandleFunc("POST /sandbox/expire-refresh-tokens", always(func(command) { s.ExpireRefreshTokens() }))
	mux.HandleFunc("POST /sandbox/revoke", s.command(func(c command) string {
		if _, ok := s.users[c.Username]; !ok {
			return "unknown user"
		}
		s.Revoke(c.Username)
		return ""
	}))
	mux.HandleFunc("POST /sandbox/reset", always(func(command) { s.ResetKnobs() }))

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromLoopback(r) {
			http.Error(w, "the control API answers loopback callers only", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// command decodes a POST and runs do, which returns what is wrong with it or "".
func (s *Sandbox) command(do func(command) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		dec.DisallowUnknownFields()
		var c command
		if err := dec.Decode(&c); err != nil && err != io.EOF {
			http.Error(w, "the body is not a command", http.StatusBadRequest)
			return
		}
		if problem := do(c); problem != "" {
			http.Error(w, problem, http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// fromLoopback reports whether a program on this machine asks. The peer address
// alone is not enough: a web page open in a browser here has it too, so the host
// name must be a loopback one (no DNS rebinding) and no page may have sent it.
func fromLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		return false
	}
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		return false
	}
	return party.Loopback(r.Host)
}
