package rest

import (
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/notice"
)

var (
	deliveriesQuery = []parameter{{"limit", "integer", "At most this many, the newest first, 1 to 500; 100 if left out"}}
	eventsQuery     = []parameter{{"after", "integer", "Events after the one with this id; only new ones if left out. The header Last-Event-ID goes before it"}}
)

type newWebhook struct {
	URL    string        `json:"url" example:"https://ops.example.com/deputy"`
	Events []notice.Type `json:"events,omitempty" doc:"All if left out: authorization.completed, authorization.failed, authorization.expired, grant.reauthorize, grant.revoked"`
}

type webhookJSON struct {
	ID        string        `json:"id"`
	URL       string        `json:"url"`
	Events    []notice.Type `json:"events,omitempty" doc:"All if there are none"`
	Disabled  string        `json:"disabled,omitempty" doc:"Why it is told nothing any more"`
	LastTaken *time.Time    `json:"lastTakenAt,omitempty" doc:"When it last took a delivery"`
	CreatedAt time.Time     `json:"createdAt"`
	Secret    string        `json:"secret,omitempty" doc:"To verify deliveries with (Standard Webhooks); shown once, when the webhook is created"`
}

func webhook(w notice.Webhook) webhookJSON {
	return webhookJSON{w.ID, w.URL, w.Events, w.Disabled, optional(w.Taken), w.Created, ""}
}

type deliveryJSON struct {
	ID        string       `json:"id" doc:"Is sent as webhook-id and stays the same however often it is tried"`
	Event     notice.Type  `json:"event"`
	State     notice.State `json:"state" enum:"pending,delivered,given-up"`
	Attempts  int64        `json:"attempts"`
	Status    int          `json:"status,omitempty" doc:"Of the last answer"`
	LastError string       `json:"lastError,omitempty"`
	CreatedAt time.Time    `json:"createdAt"`
	DueAt     *time.Time   `json:"dueAt,omitempty" doc:"Of the next attempt"`
}

func delivery(d notice.Delivery) deliveryJSON {
	j := deliveryJSON{d.ID, d.Event, d.State, d.Attempts, d.Status, d.LastError, d.Created, nil}
	if d.State == notice.Pending {
		j.DueAt = optional(d.Due)
	}
	return j
}

func (a *API) listWebhooks(c *call) (any, error) {
	found, err := a.Webhooks.Store.Webhooks(c.ctx, c.path("pool"))
	return listOf(found, webhook), err
}

func (a *API) createWebhook(c *call) (any, error) {
	var in newWebhook
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	made, s, err := a.Webhooks.Create(c.ctx, c.caller, c.path("pool"), in.URL, in.Events)
	j := webhook(made)
	j.Secret = s.RevealString()
	return j, err
}

func (a *API) getWebhook(c *call) (any, error) {
	found, err := a.Webhooks.Store.Webhook(c.ctx, c.path("pool"), c.path("webhook"))
	return webhook(found), err
}

func (a *API) deleteWebhook(c *call) (any, error) {
	return nil, a.Webhooks.Delete(c.ctx, c.caller, c.path("pool"), c.path("webhook"))
}

func (a *API) enableWebhook(c *call) (any, error) {
	return nil, a.Webhooks.Enable(c.ctx, c.caller, c.path("pool"), c.path("webhook"))
}

func (a *API) pingWebhook(c *call) (any, error) {
	return nil, a.Webhooks.Ping(c.ctx, c.path("pool"), c.path("webhook"))
}

func (a *API) listDeliveries(c *call) (any, error) {
	limit, err := c.number("limit", 100, 1, 500)
	if err != nil {
		return nil, err
	}
	found, err := a.Webhooks.Store.Deliveries(c.ctx, c.path("pool"), c.path("webhook"), limit)
	return listOf(found, delivery), err
}

// followEvents follows the audit log, and sends what webhooks would be told of.
func (a *API) followEvents(c *call) (any, error) {
	if _, err := a.Workloads.Store.WorkloadPool(c.ctx, c.path("pool")); err != nil {
		return nil, err
	}
	f, err := c.auditFilter()
	if err != nil {
		return nil, err
	}
	f.Pool, f.Actions = c.path("pool"), notice.Actions()
	return a.follow(c, f, func(s *stream, r audit.Record) error {
		e, err := r.Entry()
		if err != nil {
			return err
		}
		event, ok := notice.Of(e)
		if !ok {
			return nil
		}
		return s.event(string(event.Type), strconv.FormatInt(r.Seq, 10), event)
	})
}
