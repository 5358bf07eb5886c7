// Package main is an agent that finds a page of a user's Notion and reads it to him.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
		fmt.Fprintln(os.Stderr, "notion-agent:", err)
		stop()
		os.Exit(1)
	}
}

// newAgent returns the agent. Notion has no scopes: the user picks the pages that he
// shares when he agrees.
func newAgent(env func(string) string) *deputy.Agent {
	provider, api := cmp.Or(env("NOTION_CREDENTIAL_PROVIDER"), "notion"), cmp.Or(env("NOTION_API_BASE"), "https://api.notion.com")
	return &deputy.Agent{
		Name:  "notion-agent",
		Tools: []deputy.Tool{deputy.NewTool("find", "Finds a page by its title and returns its text.", notion{api + "/v1"}.find, deputy.OAuth2(provider).At(api))},
		Respond: func(ctx context.Context, turn *deputy.Turn) error {
			_, title, ok := strings.Cut(turn.Prompt, "find ")
			if !ok {
				turn.Say("Ask me to find TITLE.")
				return nil
			}
			var said string
			if err := turn.Call(ctx, "find", query{strings.TrimSpace(title)}, &said); err != nil {
				return err
			}
			turn.Say(said)
			return nil
		},
	}
}

// notion is the API at an address.
type notion struct{ api string }

type query struct {
	Title string `json:"title"`
}

// text is a rich text of Notion's.
type text []struct {
	Plain string `json:"plain_text"`
}

func (t text) String() string {
	var b strings.Builder
	for _, part := range t {
		b.WriteString(part.Plain)
	}
	return b.String()
}

func (n notion) find(ctx context.Context, c *deputy.Call, in query) (string, error) {
	var found struct {
		Results []struct {
			ID         string
			Properties map[string]struct{ Title text }
		}
	}
	if err := send(ctx, c.HTTP, http.MethodPost, n.api+"/search", map[string]any{"query": in.Title, "page_size": 1}, &found); err != nil {
		return "", err
	}
	if len(found.Results) == 0 {
		return "You shared no page with " + in.Title + " in its title.", nil
	}
	page := found.Results[0]
	var b strings.Builder
	for _, property := range page.Properties {
		if len(property.Title) > 0 {
			fmt.Fprintf(&b, "%s\n\n", property.Title)
		}
	}
	var blocks struct {
		Results []struct {
			Paragraph struct {
				Text text `json:"rich_text"`
			}
		}
	}
	if err := send(ctx, c.HTTP, http.MethodGet, n.api+"/blocks/"+page.ID+"/children", nil, &blocks); err != nil {
		return "", err
	}
	for _, block := range blocks.Results {
		fmt.Fprintf(&b, "%s\n", block.Paragraph.Text)
	}
	return b.String(), nil
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// send sends a request, with a body of JSON if there is one, and decodes the answer.
func send(ctx context.Context, c *http.Client, method, url string, body, into any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return err
	}
	req.Header.Set("Notion-Version", "2022-06-28")
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req) // waits here if the user has to agree first
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("Notion answers %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}
