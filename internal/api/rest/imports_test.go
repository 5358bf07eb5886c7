package rest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestProvisioningTokensAreShownOnce(t *testing.T) {
	w := newWorld(t)
	const path = "/user-pools/people/provisioning-tokens"
	var made struct{ ID, Token, URL string }
	w.create(path, `{"name":"personnel"}`, &made)
	if !strings.HasPrefix(made.Token, "dsc_") || made.URL != publicURL+"/userpool/people/scim/v2" {
		t.Errorf("made %+v", made)
	}
	w.expect(409, "POST", path, `{"name":"personnel"}`, nil)
	if shown := w.call("GET", path, w.operator, ""); strings.Contains(shown.body, made.Token) || !strings.Contains(shown.body, "personnel") {
		t.Errorf("listed %s", shown.body)
	}
	w.expect(404, "DELETE", "/user-pools/default/provisioning-tokens/"+made.ID, "", nil)
	w.expect(204, "DELETE", path+"/"+made.ID, "", nil)
	w.expect(404, "DELETE", path+"/"+made.ID, "", nil)
	if strings.Contains(w.log.String(), made.Token) {
		t.Error("the token is in the log")
	}
}

func TestImportOverHTTP(t *testing.T) {
	w := newWorld(t)
	load := func(query, media, body string) answer {
		return w.send("POST", "/api/v1/user-pools/people/imports"+query, body, http.Header{"Authorization": {"Bearer " + w.operator}, "Content-Type": {media}})
	}
	const file = "userName,email\nli,li@example.com\nwang,wrong\n"
	for _, query := range []string{"?dryRun=true", ""} {
		a := load(query, "text/csv; charset=utf-8", file)
		rows := strings.Split(strings.TrimSpace(a.body), "\n")
		if a.status != 200 || len(rows) != 3 || !strings.Contains(rows[0], `"create"`) || !strings.Contains(rows[1], `"code":"email_invalid"`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		var last struct {
			Done             bool
			Created, Refused int
		}
		must(t, json.Unmarshal([]byte(rows[2]), &last))
		if !last.Done || last.Created != 1 || last.Refused != 1 {
			t.Errorf("%s ends with %s", query, rows[2])
		}
	}
	if a := load("", "application/x-ndjson", `{"userName":"li","email":"li@example.com"}`); !strings.Contains(a.body, `"unchanged"`) {
		t.Errorf("again: %s", a.body)
	}
	if a := load("", "application/json", "{}"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("JSON: %d %s", a.status, a.body)
	}
	if a := load("?dryRun=perhaps", "text/csv", file); a.status != 400 {
		t.Errorf("perhaps: %d %s", a.status, a.body)
	}
	if a := load("", "text/csv", "userName\n\"li\n"); !strings.Contains(a.body, `"code":"row_malformed"`) || strings.Contains(a.body, `"done"`) {
		t.Errorf("a file that ends within a row: %s", a.body)
	}
	if a := load("", "text/csv", strings.Repeat("x", 16<<20+4<<10)); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large file: %d %s", a.status, a.body)
	}
}
