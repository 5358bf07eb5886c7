// Package main is an agent that asks another one: it has no credential of its own and lets feishu-doc-agent read what its user names.
//
// The other agent acts for the same user. If it needs his consent, he is asked
// on this agent's stream, and agrees to the other one reading his documents: this
// one could not, before or after.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	deputy "github.com/deputy-id/deputy/sdk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newAgent(os.Getenv("ASKED_AGENT")).Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "agent-to-agent:", err)
		stop()
		os.Exit(1)
	}
}

// newAgent returns an agent that hands every prompt on to the agent of that name.
func newAgent(other string) *deputy.Agent {
	if other == "" {
		other = "feishu-doc-agent"
	}
	return &deputy.Agent{Name: "agent-to-agent", Respond: func(ctx context.Context, turn *deputy.Turn) error {
		turn.Say("I ask " + other + ". ")
		said, err := turn.Ask(ctx, other, turn.Prompt)
		if err != nil {
			return err
		}
		turn.Say("It says:\n\n" + said)
		return nil
	}}
}
