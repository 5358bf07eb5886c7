// Package main is an agent whose credential is its own: a warehouse's API is for machines, and no user is asked (OAuth 2.0 client credentials).
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	deputy "github.com/deputy-id/deputy/sdk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newAgent(os.Getenv).Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "m2m-agent:", err)
		stop()
		os.Exit(1)
	}
}

// newAgent returns the agent. Its credential provider is of flow M2M.
func newAgent(env func(string) string) *deputy.Agent {
	provider, api := cmp.Or(env("DEPOT_CREDENTIAL_PROVIDER"), "depot"), cmp.Or(env("DEPOT_API_BASE"), "https://depot.example")
	return &deputy.Agent{
		Name:  "m2m-agent",
		Tools: []deputy.Tool{deputy.NewTool("stock", "Says how many of an item are in stock.", depot{api}.stock, deputy.OAuth2(provider, "stock.read").At(api))},
		Respond: func(ctx context.Context, turn *deputy.Turn) error {
			_, what, ok := strings.Cut(turn.Prompt, "stock of ")
			if !ok {
				turn.Say("Ask me for the stock of bolts, or of nuts.")
				return nil
			}
			var said string
			if err := turn.Call(ctx, "stock", item{strings.TrimSpace(what)}, &said); err != nil {
				return err
			}
			turn.Say(said)
			return nil
		},
	}
}

// depot is the API at an address.
type depot struct{ api string }

type item struct {
	Item string `json:"item"`
}

func (d depot) stock(ctx context.Context, c *deputy.Call, in item) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.api+"/v1/stock/"+url.PathEscape(in.Item), http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return "The depot knows no " + in.Item + ".", nil
	}
	var found struct{ Available int }
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the depot answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&found); err != nil {
		return "", err
	}
	return fmt.Sprintf("There are %d %s.", found.Available, in.Item), nil
}
