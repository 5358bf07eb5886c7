package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/apiclient"
)

// webhookCommand is deputy webhook.
type webhookCommand struct {
	List       webhookList       `cmd:"" help:"List who is told."`
	Create     webhookCreate     `cmd:"" help:"Have an address told, once it has taken a ping; its secret is shown once."`
	Ping       webhookPing       `cmd:"" help:"Send a webhook a test."`
	Enable     webhookEnable     `cmd:"" help:"Tell a webhook again that was disabled because nobody took its deliveries."`
	Delete     webhookDelete     `cmd:"" help:"Delete a webhook."`
	Deliveries webhookDeliveries `cmd:"" help:"List what a webhook was told lately, or is still to be told."`
}

// each makes a sequence of a list, or of the error in its place.
func each[T any](list []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

type webhookList struct{ inWorkloadPool }

// Run implements kong's command.
func (l webhookList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	return printEach(o, each(api.Webhooks(ctx, l.Pool)), func(w apiclient.Webhook) []string {
		state, events := "enabled", strings.Join(w.Events, " ")
		if w.Disabled != "" {
			state = "disabled: " + w.Disabled
		}
		if events == "" {
			events = "all events"
		}
		return []string{w.ID, w.URL, events, state}
	})
}

type webhookCreate struct {
	inWorkloadPool
	URL   string   `arg:"" name:"address" help:"Address that is told, by POST."`
	Event []string `help:"Event to tell; may be given several times. All if there is none." sep:"none"`
}

// Run implements kong's command.
func (c webhookCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	made, err := api.CreateWebhook(ctx, c.Pool, c.URL, c.Event)
	if err != nil {
		return err
	}
	return o.print(made, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is told of what happens from now on\n\nSecret to verify that with (Standard Webhooks), shown this once: %s\n", made.ID, made.Secret)
		return err
	})
}

// oneWebhook names a webhook.
type oneWebhook struct {
	inWorkloadPool
	Webhook string `arg:"" help:"Id of the webhook (whk_…)."`
}

// run does something to the webhook and says so.
func (h oneWebhook) run(ctx context.Context, o output, did string, do func(*apiclient.Client, context.Context, string, string) error) error {
	api, err := h.client()
	if err != nil {
		return err
	}
	if err := do(api, ctx, h.Pool, h.Webhook); err != nil {
		return err
	}
	return o.print(map[string]string{did: h.Webhook}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %s\n", did, h.Webhook)
		return err
	})
}

type webhookPing struct{ oneWebhook }

// Run implements kong's command.
func (p webhookPing) Run(ctx context.Context, o output) error {
	return p.run(ctx, o, "pinged", (*apiclient.Client).PingWebhook)
}

type webhookEnable struct{ oneWebhook }

// Run implements kong's command.
func (e webhookEnable) Run(ctx context.Context, o output) error {
	return e.run(ctx, o, "enabled", (*apiclient.Client).EnableWebhook)
}

type webhookDelete struct{ oneWebhook }

// Run implements kong's command.
func (d webhookDelete) Run(ctx context.Context, o output) error {
	return d.run(ctx, o, "deleted", (*apiclient.Client).DeleteWebhook)
}

type webhookDeliveries struct {
	oneWebhook
	Limit int `help:"At most this many, the newest first, up to 500." default:"100"`
}

// Run implements kong's command.
func (d webhookDeliveries) Run(ctx context.Context, o output) error {
	api, err := d.client()
	if err != nil {
		return err
	}
	return printEach(o, each(api.Deliveries(ctx, d.Pool, d.Webhook, d.Limit)), func(v apiclient.Delivery) []string {
		next := ""
		if v.DueAt != nil {
			next = "next " + shortTime(*v.DueAt)
		}
		return []string{v.ID, v.Event, v.State, "attempts " + strconv.FormatInt(v.Attempts, 10), shortTime(v.CreatedAt), next, v.LastError}
	})
}
