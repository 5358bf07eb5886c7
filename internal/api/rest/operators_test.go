package rest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/store"
)

// ruled is an operators' endpoint as the document has it.
type ruled struct {
	method, path, id string
	least            operator.Role
	stream           bool
}

// ruled returns those that are for operators.
func (w *world) ruled() []ruled {
	w.t.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			ID        string                `json:"operationId"`
			Least     operator.Role         `json:"x-role"`
			Security  []map[string][]string `json:"security"`
			Responses map[string]struct {
				Content map[string]any `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
	}
	must(w.t, json.Unmarshal([]byte(w.send("GET", "/openapi.json", "", nil).body), &document))
	var all []ruled
	for path, item := range document.Paths {
		for method, o := range item {
			_, forOperators := o.Security[0]["operator"]
			if forOperators != (o.Least != "" || o.ID == "whoami") {
				w.t.Errorf("%s is for operators, but of no role", o.ID)
			}
			if o.Least != "" {
				all = append(all, ruled{strings.ToUpper(method), path, o.ID, o.Least, o.Responses["200"].Content["text/event-stream"] != nil})
			}
		}
	}
	return all
}

// at returns the address of an endpoint in a pool.
func (o ruled) at(pool string) string {
	path := strings.ReplaceAll(o.path, "{pool}", pool)
	for strings.Contains(path, "{") {
		begin, end := strings.Index(path, "{"), strings.Index(path, "}")
		path = path[:begin] + "x" + path[end+1:]
	}
	return path
}

func (w *world) tokenOf(settings string) (token, id string) {
	w.t.Helper()
	var made struct{ Token, ID string }
	w.create("/operator-tokens", settings, &made)
	return made.Token, made.ID
}

// tell calls with a token and returns the status and the code of the answer. A
// stream is asked for its head alone.
func (w *world) tell(o ruled, pool, token string) (int, string) {
	w.t.Helper()
	method, body := o.method, ""
	if o.stream {
		method = http.MethodHead
	} else if method != http.MethodGet && method != http.MethodDelete {
		body = `{"nothing":"of this"}`
	}
	a := w.send(method, "/api/v1"+o.at(pool), body, http.Header{"Authorization": {"Bearer " + token}})
	var p struct{ Code string }
	_ = json.Unmarshal([]byte(a.body), &p) // what is no problem has no code
	return a.status, p.Code
}

// entries returns how many entries there are, and the last one.
func (w *world) entries() (int64, audit.Entry) {
	w.t.Helper()
	var e audit.Entry
	last, err := (store.Audit{DB: w.db}).AuditRecords(w.t.Context(), audit.Filter{Newest: true, Limit: 1})
	must(w.t, err)
	must(w.t, json.Unmarshal(last[0].Leaf, &e))
	return last[0].Seq, e
}

// refused calls what must not be done: the answer says so, one entry tells who
// was refused what, and nothing else is there afterwards.
func (w *world) refused(o ruled, pool, token, id string, status int, code string) {
	w.t.Helper()
	before, _ := w.entries()
	gotStatus, gotCode := w.tell(o, pool, token)
	if o.stream { // its head has no code
		gotCode = code
	}
	if gotStatus != status || gotCode != code {
		w.t.Errorf("%s in %s: %d %s, want %d %s", o.id, pool, gotStatus, gotCode, status, code)
	}
	after, e := w.entries()
	if after != before+1 || e.Outcome != audit.Refused || e.Action != "endpoint.call" || e.Resource.ID != o.id || e.Reason != code || e.Caller.Token != id || e.Caller.Operator == "" || e.RequestID == "" {
		w.t.Errorf("%s in %s: %d entries, the last %+v", o.id, pool, after-before, e)
	}
}

// TestRoles walks all endpoints with all roles.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	auditor, auditorID := w.tokenOf(`{"name":"auditor","role":"auditor"}`)
	worker, workerID := w.tokenOf(`{"name":"worker","role":"operator"}`)
	ownersOnly := []string{"createOperatorToken", "deleteOperatorToken", "rotateSigningKey", "rotateTokenKey", "rotateDataKeys", "resealRecords", "rewrapDataKeys"}
	for _, o := range w.ruled() {
		pool := "default"
		if strings.HasPrefix(o.path, "/user-pools/") {
			pool = "people"
		}
		want := operator.Operator
		if o.method == http.MethodGet {
			want = operator.Auditor
		} else if slices.Contains(ownersOnly, o.id) {
			want = operator.Owner
		}
		if o.least != want {
			t.Errorf("%s is for the role %s", o.id, o.least)
		}
		if want != operator.Auditor {
			w.refused(o, pool, auditor, auditorID, 403, "role_insufficient")
		} else if status, code := w.tell(o, pool, auditor); status == 403 || status == 401 || code == "role_insufficient" {
			t.Errorf("%s does not answer an auditor: %d %s", o.id, status, code)
		}
		if want == operator.Owner {
			w.refused(o, pool, worker, workerID, 403, "role_insufficient")
		}
	}
	// The owner and the operator are let through to what they may do.
	w.expectFrom(worker, 201, "POST", "/workload-pools/default/workloads", `{"name":"mail"}`, nil)
	if _, e := w.entries(); e.Caller.Operator != "worker" || e.Caller.Token != workerID {
		t.Errorf("the entry tells of %+v", e.Caller)
	}
	w.expect(200, "POST", "/data-keys", "", nil)
}

// TestLimitedOperators walks all endpoints with operators of other pools.
func TestLimitedOperators(t *testing.T) {
	w := newWorld(t)
	w.create("/workload-pools", `{"name":"mine"}`, nil)
	w.create("/user-pools", `{"name":"mine"}`, nil)
	workloads, workloadsID := w.tokenOf(`{"name":"workloads","role":"operator","pools":{"workload":["mine"]}}`)
	users, usersID := w.tokenOf(`{"name":"users","role":"auditor","pools":{"user":["mine"]}}`)
	for _, o := range w.ruled() {
		switch {
		case o.id == "listUserPools" || o.id == "listWorkloadPools" || o.id == "listVendors":
		case strings.HasPrefix(o.path, "/workload-pools/{pool}"):
			// A pool that there is, and one that there is not, answer alike; and a user pool's name opens no workload pool.
			for _, pool := range []string{"default", "nowhere"} {
				w.refused(o, pool, workloads, workloadsID, 404, "workload_pool_not_found")
			}
			w.refused(o, "mine", users, usersID, 404, "workload_pool_not_found")
		case strings.HasPrefix(o.path, "/user-pools/{pool}"):
			for _, pool := range []string{"people", "nowhere"} {
				w.refused(o, pool, users, usersID, 404, "userpool_not_found")
			}
			w.refused(o, "mine", workloads, workloadsID, 404, "userpool_not_found")
		default:
			w.refused(o, "", workloads, workloadsID, 403, "pools_limited")
		}
	}
	w.expectFrom(workloads, 201, "POST", "/workload-pools/mine/workloads", `{"name":"doc"}`, nil)
	w.expectFrom(users, 200, "GET", "/user-pools/mine/users", "", nil)
	for path, want := range map[string]map[string]string{
		"/workload-pools": {workloads: "mine", users: "", w.operator: "default mine"},
		"/user-pools":     {workloads: "", users: "mine", w.operator: "mine people"},
	} {
		for token, names := range want {
			var pools struct{ Items []struct{ Name string } }
			w.expectFrom(token, 200, "GET", path, "", &pools)
			var got []string
			for _, p := range pools.Items {
				got = append(got, p.Name)
			}
			if strings.Join(got, " ") != names {
				t.Errorf("%s has %q, want %q", path, got, names)
			}
		}
	}
	var who struct {
		Operator, Token, Role string
		Pools                 struct{ Workload []string }
	}
	w.expectFrom(workloads, 200, "GET", "/whoami", "", &who)
	if who.Operator != "workloads" || who.Token != workloadsID || who.Role != "operator" || len(who.Pools.Workload) != 1 {
		t.Errorf("whoami: %+v", who)
	}
}

func TestOperatorTokens(t *testing.T) {
	w := newWorld(t)
	token, id := w.tokenOf(`{"name":"night","role":"auditor","pools":{"workload":["default"]},"expiresAt":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"}`)
	w.expectFrom(token, 200, "GET", "/workload-pools/default", "", nil)
	shown := w.call("GET", "/operator-tokens", w.operator, "").body
	if !strings.Contains(shown, `"name":"night","role":"auditor","pools":{"workload":["default"]}`) || !strings.Contains(shown, `"lastUsedAt"`) || strings.Contains(shown, token) {
		t.Errorf("listed: %s", shown)
	}
	var all struct {
		Items []struct{ ID, Name string }
	}
	w.expect(200, "GET", "/operator-tokens", "", &all)
	root := all.Items[1].ID
	for what, c := range map[string]struct {
		method, path, body string
		status             int
		code, source       string
	}{
		"a second of the name": {"POST", "/operator-tokens", `{"name":"night","role":"auditor"}`, 409, "operator-token_exists", ""},
		"of no role":           {"POST", "/operator-tokens", `{"name":"a","role":"admin"}`, 400, "operator-token_role", "role"},
		"limited to nothing":   {"POST", "/operator-tokens", `{"name":"a","role":"auditor","pools":{}}`, 400, "operator-token_pools", "pools"},
		"limited to too much":  {"POST", "/operator-tokens", `{"name":"a","role":"auditor","pools":{"user":["` + strings.Repeat(`p","`, operator.MaxPools) + `p"]}}`, 400, "operator-token_pools", "pools"},
		"of an unknown pool":   {"POST", "/operator-tokens", `{"name":"a","role":"auditor","pools":{"workload":["defualt"]}}`, 404, "workload_pool_not_found", ""},
		"of an unknown people": {"POST", "/operator-tokens", `{"name":"a","role":"auditor","pools":{"user":["default"]}}`, 404, "userpool_not_found", ""},
		"ended":                {"POST", "/operator-tokens", `{"name":"a","role":"auditor","expiresAt":"2020-01-01T00:00:00Z"}`, 400, "operator-token_life", "expiresAt"},
		"an unknown one":       {"DELETE", "/operator-tokens/opt_x", "", 404, "operator-token_not_found", ""},
		"the last owner":       {"DELETE", "/operator-tokens/" + root, "", 409, "operator_last_owner", ""},
	} {
		t.Run(what, func(t *testing.T) {
			h := http.Header{"Authorization": {"Bearer " + w.operator}, "Content-Type": {"application/json"}}
			checkProblem(t, w.send(c.method, "/api/v1"+c.path, c.body, h), hostile{status: c.status, code: c.code, source: c.source})
		})
	}
	w.expect(204, "DELETE", "/operator-tokens/"+id, "", nil)
	w.expectFrom(token, 401, "GET", "/workload-pools/default", "", nil)
	// The first token goes when there is another owner.
	boss, _ := w.tokenOf(`{"name":"boss","role":"owner"}`)
	w.expectFrom(boss, 204, "DELETE", "/operator-tokens/"+root, "", nil)
	w.expect(401, "GET", "/operator-tokens", "", nil)
}
