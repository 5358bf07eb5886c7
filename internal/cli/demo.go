package cli

import (
	"context"

	"github.com/deputy-id/deputy/internal/demo"
)

// demoCommand is deputy demo.
type demoCommand struct {
	Data          string `help:"Directory for everything; without it a fresh one, removed at the end." placeholder:"DIR"`
	Listen        string `help:"Address of the identity service, ${default} by default." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	IngressListen string `help:"Address of the runtime's ingress, ${default} by default." default:"127.0.0.1:8090" placeholder:"HOST:PORT"`
	ChatListen    string `help:"Address of the chat application, ${default} by default." default:"127.0.0.1:8082" placeholder:"HOST:PORT"`
	SandboxListen string `help:"Address of the third party's sandbox, ${default} by default." default:"127.0.0.1:8083" placeholder:"HOST:PORT"`
	Examples      string `help:"Directory of the examples; without it that of the source tree that this is started in." placeholder:"DIR"`
	Example       string `help:"Another agent of the examples than the tutorial's: github-agent, calendar-agent, notion-agent, slack-agent, m2m-agent, python-agent or agent-to-agent." placeholder:"NAME"`
	Headless      bool   `help:"Play the users too, check every step, and end."`
}

// Run implements kong's command.
func (d demoCommand) Run(ctx context.Context, o output) error {
	return demo.Run(ctx, demo.Config{
		Data: d.Data, Listen: d.Listen, IngressListen: d.IngressListen, ChatListen: d.ChatListen, SandboxListen: d.SandboxListen,
		Examples: d.Examples, Example: d.Example, Headless: d.Headless, Out: o.out,
	})
}
