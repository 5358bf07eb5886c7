package op_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/userpool"
)

// TestALogoutIsToldToTheSessionsClients logs in to two clients in one session,
// and to one of them in another, and logs out of the first.
func TestALogoutIsToldToTheSessionsClients(t *testing.T) {
	onEach(t, func(w *world) {
		for _, client := range []string{"chat", "mail"} {
			w.edit("staff", client, func(c *userpool.Client) { c.BackchannelLogoutURI = "https://" + client + ".example/logout" })
		}
		here, there := w.person(), w.person()
		for _, p := range []*person{here, there} {
			p.logIn("staff")
			for _, client := range []string{"chat", "mail"} {
				if p == there && client == "mail" {
					continue
				}
				if got := w.redeem("staff", client, p.code(w.ask("staff", "client_id", "cli_"+client+"_staff"))); got.status != 200 {
					w.t.Fatalf("%d %s", got.status, got.body)
				}
			}
		}
		here.submit(here.get("/userpool/staff/logout?ui_locales=zh-CN"), "decision", "allow")
		notices, err := w.stores.TakeLogoutNotices(w.t.Context(), w.now(), w.now().Add(time.Hour), 10)
		w.must(err)
		clients := map[string]bool{}
		for _, n := range notices {
			clients[n.ClientID] = n.UserID == "usr_zhang_staff" && n.SessionID == notices[0].SessionID
		}
		if len(notices) != 2 || !clients["cli_chat_staff"] || !clients["cli_mail_staff"] {
			w.t.Errorf("to be told: %+v", notices)
		}
	})
}

func TestMetadataOfDevicesAndLogout(t *testing.T) {
	w := newWorld(t)
	var doc struct {
		Device  string `json:"device_authorization_endpoint"`
		Logout  bool   `json:"backchannel_logout_supported"`
		Session bool   `json:"backchannel_logout_session_supported"`
		Front   bool   `json:"frontchannel_logout_supported"`
	}
	w.must(json.Unmarshal([]byte(w.person().get("/userpool/staff/.well-known/openid-configuration").body), &doc))
	if doc.Device != w.url+"/userpool/staff/oauth/device_authorization" || !doc.Logout || !doc.Session || doc.Front {
		t.Errorf("got %+v", doc)
	}
}
