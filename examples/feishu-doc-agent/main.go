// Package main is the tutorial's agent: it reads a user's Feishu documents, with the user's consent, and sums them up.
//
// It holds no secret of Feishu and never sees a user's token: the SDK asks
// Deputy, shows the user a link when that is needed, and puts the token on the
// requests of [documents.read].
//
// The files, bottom up: language.go is what it says, in two languages; link.go
// finds the document in a message; feishu.go reads it; text.go and summary.go
// make a summary without a language model; intent.go and offline.go answer
// without one; chat.go and model.go answer with one; memory.go is what it
// remembers of a conversation; agent.go joins them; settings.go reads the
// environment.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "feishu-doc-agent:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	set, err := loadSettings(os.Getenv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	log.Info("starting", "provider", set.provider, "feishu", set.feishu, "model", set.model.name)
	return newAgent(set, log).Serve(ctx)
}
