package peers_test

import (
	"fmt"
	"testing"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/userpool"
)

// TestA2A sets the official A2A client before the ingress and the official server
// behind it, in both versions of the protocol; and a WebSocket client and server
// of others.
func TestA2A(t *testing.T) {
	w := newWorld(t, jwt.ES256)
	c, _ := w.client(userpool.Public, nil)
	w.deploy("who", "a2a-agent.mjs", c, "{a2a: /, websocket: /ws}")
	at := w.Ingress + "/agents/default/who/"
	s := node(t, "a2a-client.mjs")
	s.say(t, map[string]string{"url": at, "token": w.person().accessToken(c)})
	l := s.hear(t)
	if l.Done == nil {
		t.Fatalf("%s\nrefused: %q", l.Failed, w.refusals())
	}
	spoken := fmt.Sprintf(`{"user":%q, "streamed":"for %s", "events":["task", "artifactUpdate", "artifactUpdate", "statusUpdate"], "addresses":[%q, %q]}`,
		w.user.ID, w.user.ID, at+".well-known/agent-card.json", at+"a2a")
	socket := fmt.Sprintf(`{"said":"%s: hello", "large":true, "code":1000}`, w.user.ID)
	want(t, string(l.Done), fmt.Sprintf(`{"new":%s, "old":%s, "header":%s, "protocol":%s, "strangers":["401", "401"]}`, spoken, spoken, socket, socket))
}
