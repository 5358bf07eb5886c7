// Package main is an agent that looks after a user's repositories and issues at GitHub, in his name.
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
	"regexp"
	"strings"
	"syscall"

	deputy "github.com/deputy-id/deputy/sdk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newAgent(os.Getenv).Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "github-agent:", err)
		stop()
		os.Exit(1)
	}
}

var (
	aboutIssues = regexp.MustCompile(`(?i)issues (?:of|in) ([\w.-]+/[\w.-]+)`)
	newIssue    = regexp.MustCompile(`(?i)new issue in ([\w.-]+/[\w.-]+): *(.+)`)
)

// newAgent returns the agent. It has a tool that reads and one that writes, and asks
// for no more than the one that is used needs.
func newAgent(env func(string) string) *deputy.Agent {
	provider, api := cmp.Or(env("GITHUB_CREDENTIAL_PROVIDER"), "github"), cmp.Or(env("GITHUB_API_BASE"), "https://api.github.com")
	repos := deputy.OAuth2(provider, "repo").At(api)
	hub := gitHub{api}
	return &deputy.Agent{
		Name: "github-agent",
		Tools: []deputy.Tool{
			deputy.NewTool("repositories", "Lists the user's repositories.", hub.repositories, repos),
			deputy.NewTool("issues", "Lists the issues of a repository.", hub.issues, repos),
			deputy.NewTool("new_issue", "Opens an issue in a repository.", hub.open, repos),
		},
		Respond: respond,
	}
}

// respond understands three sentences. A language model would choose among the tools
// instead: they describe themselves.
func respond(ctx context.Context, turn *deputy.Turn) error {
	tool, in := "repositories", any(nil)
	if m := newIssue.FindStringSubmatch(turn.Prompt); m != nil {
		tool, in = "new_issue", title{repository{m[1]}, m[2]}
	} else if m := aboutIssues.FindStringSubmatch(turn.Prompt); m != nil {
		tool, in = "issues", repository{m[1]}
	} else if !strings.Contains(strings.ToLower(turn.Prompt), "repositor") {
		turn.Say("I know your repositories, the issues of OWNER/NAME, and how to open a new issue in OWNER/NAME: TITLE.")
		return nil
	}
	var said string
	if err := turn.Call(ctx, tool, in, &said); err != nil {
		return err
	}
	turn.Say(said)
	return nil
}

// gitHub is the API at an address.
type gitHub struct{ api string }

type repository struct {
	Repository string `json:"repository" jsonschema:"OWNER/NAME"`
}

type title struct {
	repository
	Title string `json:"title"`
}

func (g gitHub) repositories(ctx context.Context, c *deputy.Call, _ struct{}) (string, error) {
	var found []struct {
		Name    string `json:"full_name"`
		Private bool   `json:"private"`
	}
	if err := send(ctx, c.HTTP, http.MethodGet, g.api+"/user/repos", nil, &found); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "You have %d repositories:\n", len(found))
	for _, r := range found {
		fmt.Fprintf(&b, "- %s", r.Name)
		if r.Private {
			b.WriteString(" (private)")
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

type issue struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
}

func (g gitHub) issues(ctx context.Context, c *deputy.Call, in repository) (string, error) {
	var found []issue
	if err := send(ctx, c.HTTP, http.MethodGet, g.api+"/repos/"+in.Repository+"/issues", nil, &found); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d open issues:\n", in.Repository, len(found))
	for _, i := range found {
		fmt.Fprintf(&b, "- #%d %s\n", i.Number, i.Title)
	}
	return b.String(), nil
}

func (g gitHub) open(ctx context.Context, c *deputy.Call, in title) (string, error) {
	var made issue
	if err := send(ctx, c.HTTP, http.MethodPost, g.api+"/repos/"+in.Repository+"/issues", map[string]string{"title": in.Title}, &made); err != nil {
		return "", err
	}
	return fmt.Sprintf("I opened #%d %q in %s.", made.Number, made.Title, in.Repository), nil
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
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req) // waits here if the user has to agree first
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("GitHub answers %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}
