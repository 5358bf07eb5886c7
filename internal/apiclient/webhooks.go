package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Webhook is an address that is told of the events of a workload pool.
type Webhook struct {
	ID          string     `json:"id"`
	URL         string     `json:"url"`
	Events      []string   `json:"events,omitempty"`   // none: all
	Disabled    string     `json:"disabled,omitempty"` // why it is told nothing any more
	LastTakenAt *time.Time `json:"lastTakenAt,omitempty"`
	CreatedAt   time.Time  `json:"createdAt"`
	Secret      string     `json:"secret,omitempty"` // only of one that was just made
}

// Delivery is what a webhook was told, or is still to be told.
type Delivery struct {
	ID        string     `json:"id"`
	Event     string     `json:"event"`
	State     string     `json:"state"` // "pending", "delivered" or "given-up"
	Attempts  int64      `json:"attempts"`
	Status    int        `json:"status,omitempty"`
	LastError string     `json:"lastError,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
	DueAt     *time.Time `json:"dueAt,omitempty"`
}

// Webhooks returns the webhooks of a workload pool.
func (c *Client) Webhooks(ctx context.Context, pool string) ([]Webhook, error) {
	var all list[Webhook]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "webhooks"), nil, nil, &all)
	return all.Items, err
}

// CreateWebhook makes a webhook for some events, or all. Its secret is in the
// answer, this once.
func (c *Client) CreateWebhook(ctx context.Context, pool, address string, events []string) (Webhook, error) {
	var made Webhook
	err := c.call(ctx, http.MethodPost, path("workload-pools", pool, "webhooks"), nil, struct {
		URL    string   `json:"url"`
		Events []string `json:"events,omitempty"`
	}{address, events}, &made)
	return made, err
}

// DeleteWebhook deletes a webhook.
func (c *Client) DeleteWebhook(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "webhooks", id), nil, nil, nil)
}

// EnableWebhook has a disabled webhook told again.
func (c *Client) EnableWebhook(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodPost, path("workload-pools", pool, "webhooks", id, "enable"), nil, nil, nil)
}

// PingWebhook sends a webhook a test.
func (c *Client) PingWebhook(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodPost, path("workload-pools", pool, "webhooks", id, "ping"), nil, nil, nil)
}

// Deliveries returns the newest deliveries of a webhook.
func (c *Client) Deliveries(ctx context.Context, pool, id string, limit int) ([]Delivery, error) {
	var all list[Delivery]
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "webhooks", id, "deliveries"), url.Values{"limit": {strconv.Itoa(limit)}}, nil, &all)
	return all.Items, err
}
