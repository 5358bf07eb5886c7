package cli

import (
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
)

// TestSay shows streams as agents write them: pieces of text, then the whole of
// it again.
func TestSay(t *testing.T) {
	for what, c := range map[string]struct{ stream, want, code string }{
		"pieces, and the whole": {
			`{"content":{"parts":[{"text":"Good "}]},"partial":true}|{"content":{"parts":[{"text":"morning"}]},"partial":true}|{"content":{"parts":[{"text":"Good morning"}]},"partial":false}`,
			"Good morning\n", "",
		},
		"the whole alone": {`{"content":{"parts":[{"text":"Good morning"}]}}`, "Good morning\n", ""},
		"a tool between": {
			`{"content":{"parts":[{"text":"Look: "}]},"partial":true}|{"content":{"parts":[{"functionCall":{"name":"read","args":{}}}]}}|{"content":{"parts":[{"functionResponse":{"name":"read"}}]}}|{"content":{"parts":[{"text":"done"}]},"partial":true}|{"content":{"parts":[{"text":"Look: done"}]}}`,
			"Look: \n[the agent calls read]\ndone\n", "",
		},
		"consent": {
			`{"content":{"parts":[{"functionCall":{"name":"adk_request_credential","args":{"authConfig":{"exchangedAuthCredential":{"oauth2":{"authUri":"https://id.example/a/1"}}}}}}]}}`,
			"\nThe agent may do this only with your consent. Open:\n  https://id.example/a/1\n\n", "",
		},
		"it gives up": {`{"error":"the third party is closed","error_type":"x"}`, "", "agent_failed"},
		"not JSON":    {`hello`, "", "event_malformed"},
	} {
		t.Run(what, func(t *testing.T) {
			stream := ""
			for _, e := range strings.Split(c.stream, "|") {
				stream += "data: " + e + "\n\n"
			}
			var out strings.Builder
			err := say(&out, apiclient.NewEvents(strings.NewReader(stream)))
			if (err != nil) != (c.code != "") || err != nil && !fault.HasCode(err, c.code) {
				t.Fatal(err)
			}
			if err == nil && out.String() != c.want {
				t.Errorf("got %q, want %q", out.String(), c.want)
			}
		})
	}
}
