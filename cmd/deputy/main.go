// Command deputy lets agents act for people without owning their credentials.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/deputy-id/deputy/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
