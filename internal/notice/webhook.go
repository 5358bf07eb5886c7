package notice

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/secret"
)

// The actions that permits are given for, all on [Resource].
const (
	ActionCreate  guard.Action = "webhook.create"
	ActionDelete  guard.Action = "webhook.delete"
	ActionEnable  guard.Action = "webhook.enable"
	ActionDisable guard.Action = "webhook.disable" // by Deputy itself, when nobody takes the deliveries
)

// Resource is what permits for a webhook name.
func Resource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "webhook", Pool: pool, ID: id}
}

// NotFound is the fault for a webhook that does not exist.
func NotFound(id string) *fault.Error {
	return fault.New(fault.NotFound, "webhook_not_found", "there is no webhook %q", name.Clip(id, 60))
}

// Webhook is an address that is told of the events of a workload pool.
type Webhook struct {
	ID       string // "whk_…"
	Pool     string
	URL      string
	Events   []Type    // empty: all
	Sealed   []byte    // the signing key
	Disabled string    // why it is told nothing any more; "": it is told
	Told     int64     // the place in the audit log up to which deliveries have been made
	Taken    time.Time // when a delivery was last taken
	Created  time.Time
}

// wants reports whether the webhook is told of events of a type.
func (w Webhook) wants(t Type) bool { return len(w.Events) == 0 || slices.Contains(w.Events, t) }

func (w Webhook) place() keys.Place {
	return keys.Place{Kind: "webhook.secret", Pool: w.Pool, Record: w.ID}
}

// Delivery is the duty to tell a webhook of one event, or what became of it.
type Delivery struct {
	ID        string // "msg_…": stays the same however often it is tried
	WebhookID string
	Pool      string
	Event     Type
	Payload   string // JSON of the [Event]
	State     State
	Attempts  int64  // so far
	Status    int    // of the last answer; 0: there was none
	LastError string // why the last attempt failed
	Created   time.Time
	Due       time.Time // of the next attempt
	Updated   time.Time
}

// State is the state of a delivery.
type State string

// The states of a delivery.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	GivenUp   State = "given-up"
)

// Webhooks keeps webhooks. One not found is the fault of [NotFound].
type Webhooks interface {
	// CreateWebhook adds a webhook, which is told of what happens from now on. It needs a permit for ActionCreate.
	CreateWebhook(ctx context.Context, p guard.Permit, w Webhook) error
	Webhook(ctx context.Context, pool, id string) (Webhook, error)
	// Webhooks returns the webhooks of a pool, by id.
	Webhooks(ctx context.Context, pool string) ([]Webhook, error)
	// SwitchWebhook writes why a webhook is told nothing, which gives up its pending deliveries; or "" to have it
	// told again of what happens from now on. It needs a permit for action.
	SwitchWebhook(ctx context.Context, p guard.Permit, action guard.Action, pool, id, why string) error
	// DeleteWebhook removes a webhook with its deliveries. It needs a permit for ActionDelete.
	DeleteWebhook(ctx context.Context, p guard.Permit, pool, id string) error
	// Deliveries returns the newest deliveries of a webhook, at most limit.
	Deliveries(ctx context.Context, pool, id string, limit int) ([]Delivery, error)
}

// Sealer seals signing keys; [keys.Ring] is one.
type Sealer interface {
	Seal(ctx context.Context, place keys.Place, plain secret.Text) ([]byte, error)
	Open(ctx context.Context, place keys.Place, sealed []byte) (secret.Text, error)
}

// Sender sends requests to webhooks; [outbound.Client] is one.
type Sender interface {
	Do(ctx context.Context, r outbound.Request) (outbound.Response, error)
}

// Registry makes and ends webhooks. All fields are required.
type Registry struct {
	Store  Webhooks
	Sealer Sealer
	Sender Sender
	Guard  *guard.Guard
	Now    func() time.Time
}

// maxURL bounds a webhook's address, in bytes.
const maxURL = 2000

// Create makes a webhook, once its address has answered a ping. The secret with
// which its deliveries are verified is returned this once.
func (r *Registry) Create(ctx context.Context, c name.Caller, pool, address string, events []Type) (Webhook, secret.Text, error) {
	w := Webhook{ID: name.NewID("whk"), Pool: pool, URL: address, Events: events, Created: r.Now().UTC()}
	p, err := r.Guard.Allow(ctx, c, ActionCreate, Resource(pool, w.ID))
	if err != nil {
		return Webhook{}, secret.Text{}, err
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "https" && u.Scheme != "http") || len(address) > maxURL {
		return Webhook{}, secret.Text{}, fault.New(fault.Invalid, "webhook_url_invalid", "%q is not an address that can be told", name.Clip(address, 200)).
			WithSource("url").WithFix("give an absolute https address without user name and fragment")
	}
	for _, t := range events {
		if !slices.Contains(Types(), t) {
			return Webhook{}, secret.Text{}, fault.New(fault.Invalid, "event_unknown", "there is no event %q", name.Clip(string(t), 60)).WithSource("events").WithFix("use some of %v, or leave them out for all", Types())
		}
	}
	key, shown := newSecret()
	defer key.Clear()
	if w.Sealed, err = r.Sealer.Seal(ctx, w.place(), key); err != nil {
		return Webhook{}, secret.Text{}, err
	}
	if err := r.ping(ctx, w, key); err != nil {
		return Webhook{}, secret.Text{}, err
	}
	return w, shown, r.Store.CreateWebhook(ctx, p.Detail(map[string]string{"url": u.Scheme + "://" + u.Host + u.EscapedPath()}), w)
}

// Ping tells a webhook of nothing, to see whether it takes it.
func (r *Registry) Ping(ctx context.Context, pool, id string) error {
	w, err := r.Store.Webhook(ctx, pool, id)
	if err != nil {
		return err
	}
	key, err := r.Sealer.Open(ctx, w.place(), w.Sealed)
	if err != nil {
		return err
	}
	defer key.Clear()
	return r.ping(ctx, w, key)
}

func (r *Registry) ping(ctx context.Context, w Webhook, key secret.Text) error {
	body, err := encode(Event{Ping, r.Now().UTC(), Data{Pool: w.Pool}})
	if err != nil {
		return err
	}
	a := send(ctx, r.Sender, w, key, name.NewID("msg"), r.Now(), body)
	if a.why == "" {
		return nil
	}
	return fault.New(fault.Invalid, "webhook_refuses", "the webhook did not take a ping: %s", a.why).WithSource("url").
		WithFix("%s", orElse(a.fix, "answer POST requests there with a status from 200 to 299"))
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Enable has a disabled webhook told again, of what happens from now on.
func (r *Registry) Enable(ctx context.Context, c name.Caller, pool, id string) error {
	p, err := r.Guard.Allow(ctx, c, ActionEnable, Resource(pool, id))
	if err != nil {
		return err
	}
	return r.Store.SwitchWebhook(ctx, p, ActionEnable, pool, id, "")
}

// Delete removes a webhook.
func (r *Registry) Delete(ctx context.Context, c name.Caller, pool, id string) error {
	p, err := r.Guard.Allow(ctx, c, ActionDelete, Resource(pool, id))
	if err != nil {
		return err
	}
	return r.Store.DeleteWebhook(ctx, p, pool, id)
}
