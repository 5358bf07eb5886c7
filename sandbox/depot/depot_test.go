package depot_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/deputy-id/deputy/sandbox/depot"
	"github.com/deputy-id/deputy/sandbox/party"
	"github.com/deputy-id/deputy/sandbox/party/partytest"
)

func TestStock(t *testing.T) {
	r := partytest.New(t, func(c party.Config) (http.Handler, error) {
		s, err := depot.New(c)
		if err != nil {
			return nil, err
		}
		return s.Handler(), nil
	})
	type tokens struct {
		Access string `json:"access_token"`
		Error  string `json:"error"`
	}
	token := func(scope string) tokens {
		return partytest.JSON[tokens](t, r.Form(depot.TokenPath, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}, true))
	}
	reads, nothing := token(depot.ReadStock).Access, token("").Access
	r.Run(
		partytest.Call("in stock", reads, "GET", "/v1/stock/bolts", "", 200, `"available":1200`),
		partytest.Call("sold out", reads, "GET", "/v1/stock/washers", "", 200, `"available":0`),
		partytest.Call("unknown", reads, "GET", "/v1/stock/wheels", "", 404, "not_found"),
		partytest.Call("without the scope", nothing, "GET", "/v1/stock/bolts", "", 403, "insufficient_scope"),
		partytest.Call("nobody", "depot_other", "GET", "/v1/stock/bolts", "", 401, "invalid_token"),
	)
	if got := token("stock.write"); got.Error != "invalid_scope" {
		t.Errorf("a scope that there is not: %+v", got)
	}
	if a := r.Form(depot.TokenPath, url.Values{"grant_type": {"client_credentials"}}, false); a.Status != 401 {
		t.Errorf("an app that proves nothing: %d", a.Status)
	}
	if a := r.Form(depot.TokenPath, url.Values{"grant_type": {"password"}}, true); a.Status != 400 {
		t.Errorf("another grant: %d", a.Status)
	}
	r.Pass(time.Hour)
	if a := r.API(reads, "GET", "/v1/stock/bolts", ""); a.Status != 401 {
		t.Errorf("expired: %d", a.Status)
	}
}
