package notice

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/outbox"
	"github.com/deputy-id/deputy/internal/secret"
)

// The bounds of telling webhooks.
const (
	atOnce     = 16
	answerTime = 10 * time.Second // for a webhook to answer
	hold       = time.Minute      // how long a delivery stays with its taker
	maxAnswer  = 4 << 10          // bytes; nothing of it is used
	spreadSize = 200              // records that are read at once
	skip       = 1000             // records of other things after which a webhook's place is written down
	breath     = 250 * time.Millisecond
	look       = time.Second // between two looks for what other replicas recorded

	firstPause = 5 * time.Second
	mostPause  = 6 * time.Hour
	// Life is how long a delivery is tried.
	Life = 3 * 24 * time.Hour
	// keep is how long can be seen what became of a delivery.
	keep = 7 * 24 * time.Hour
)

// DeliveryTopic is what a store's bell rings when there are new deliveries.
const DeliveryTopic = "webhook deliveries"

// Outbox keeps the deliveries that are to be made. None of this is a change to
// be permitted: what is told has been recorded already.
type Outbox interface {
	// Enabled returns the webhooks of all pools that are told.
	Enabled(ctx context.Context) ([]Webhook, error)
	// Spread adds deliveries for w and moves its place from w.Told to told. If the place is another one by now, it
	// does nothing: another replica was faster.
	Spread(ctx context.Context, w Webhook, told int64, deliveries []Delivery) error
	// TakeDeliveries returns at most limit pending deliveries to webhooks that are told, which are due at now, and
	// puts them off until then: meanwhile nobody else gets them.
	TakeDeliveries(ctx context.Context, now, then time.Time, limit int) ([]Delivery, error)
	// Settle writes what became of an attempt.
	Settle(ctx context.Context, d Delivery) error
	// SweepDeliveries removes the deliveries that ended before t.
	SweepDeliveries(ctx context.Context, t time.Time) error
}

// Log is the audit log.
type Log interface {
	AuditRecords(ctx context.Context, f audit.Filter) ([]audit.Record, error)
	// Listen returns a channel that receives when this process has appended.
	Listen() (<-chan struct{}, func())
}

// Teller tells webhooks. All fields are required.
type Teller struct {
	Webhooks Webhooks
	Outbox   Outbox
	Audit    Log
	Sealer   Sealer
	Sender   Sender
	Bell     outbox.Bell
	Guard    *guard.Guard
	Logger   *slog.Logger
	Now      func() time.Time
}

// Worker returns what makes the deliveries that are due.
func (t *Teller) Worker() outbox.Worker[Delivery] {
	return outbox.Worker[Delivery]{
		What: "webhook deliveries", Topic: DeliveryTopic, Bell: t.Bell, Take: t.Outbox.TakeDeliveries, Do: t.deliver,
		AtOnce: atOnce, Hold: hold, Look: 15 * time.Second, Log: t.Logger, Now: t.Now,
	}
}

// Run turns records of the audit log into deliveries until ctx is done.
func (t *Teller) Run(ctx context.Context) {
	grown, stop := t.Audit.Listen()
	defer stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if err := t.Spread(ctx); err != nil && ctx.Err() == nil {
			t.Logger.LogAttrs(ctx, slog.LevelWarn, "events not made into deliveries; tried again later", slog.Any("err", fault.As(err)))
		}
		// A log that grows all the time is not looked at for every record.
		select {
		case <-time.After(breath):
		case <-ctx.Done():
			return
		}
		select {
		case <-grown:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Spread makes deliveries of what the audit log has that webhooks have not been
// told.
func (t *Teller) Spread(ctx context.Context) error {
	webhooks, err := t.Outbox.Enabled(ctx)
	if err != nil || len(webhooks) == 0 {
		return err
	}
	last, err := t.Audit.AuditRecords(ctx, audit.Filter{Newest: true, Limit: 1})
	if err != nil || len(last) == 0 {
		return err
	}
	for _, w := range webhooks {
		if err := t.spread(ctx, w, last[0].Seq); err != nil {
			return err
		}
	}
	return nil
}

func (t *Teller) spread(ctx context.Context, w Webhook, end int64) error {
	for w.Told < end {
		records, err := t.Audit.AuditRecords(ctx, audit.Filter{After: w.Told, Pool: w.Pool, Actions: Actions(), Limit: spreadSize})
		if err != nil {
			return err
		}
		told, more := end, len(records) == spreadSize
		if n := len(records); n > 0 && (more || records[n-1].Seq > end) {
			told = records[n-1].Seq
		}
		deliveries, err := t.deliveries(w, records)
		if err != nil {
			return err
		}
		if len(deliveries) == 0 && !more && told-w.Told < skip {
			return nil
		}
		if err := t.Outbox.Spread(ctx, w, told, deliveries); err != nil {
			return err
		}
		w.Told = told
	}
	return nil
}

// deliveries returns what w is to be told of the records.
func (t *Teller) deliveries(w Webhook, records []audit.Record) ([]Delivery, error) {
	var list []Delivery
	now := t.Now().UTC()
	for _, r := range records {
		e, err := r.Entry()
		if err != nil {
			return nil, err
		}
		event, ok := Of(e)
		if !ok || !w.wants(event.Type) {
			continue
		}
		body, err := encode(event)
		if err != nil {
			return nil, err
		}
		list = append(list, Delivery{ID: name.NewID("msg"), WebhookID: w.ID, Pool: w.Pool, Event: event.Type, Payload: string(body), State: Pending, Created: now, Due: now, Updated: now})
	}
	return list, nil
}

func encode(e Event) ([]byte, error) { return json.Marshal(e) }

// deliver makes one attempt.
func (t *Teller) deliver(ctx context.Context, d Delivery) error {
	w, err := t.Webhooks.Webhook(ctx, d.Pool, d.WebhookID)
	if fault.Is(err, fault.NotFound) {
		return nil // the delivery went with it
	}
	if err != nil {
		return err
	}
	key, err := t.Sealer.Open(ctx, w.place(), w.Sealed)
	if err != nil {
		return err
	}
	defer key.Clear()
	a := send(ctx, t.Sender, w, key, d.ID, t.Now(), []byte(d.Payload))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := t.Now().UTC()
	d.Attempts++
	d.Status, d.LastError, d.Updated = a.status, a.why, now
	switch {
	case a.why == "":
		d.State = Delivered
	case a.status == http.StatusGone || now.Sub(d.Created) >= Life:
		d.State = GivenUp
		// Nobody will take anything there any more, or nobody has for days: one event that is not liked is not enough.
		if a.status == http.StatusGone || !w.Taken.After(d.Created) {
			if err := t.disable(ctx, w, a.why); err != nil {
				return err
			}
		}
	default:
		d.Due = now.Add(outbox.Pause(firstPause, mostPause, d.Attempts-1))
	}
	return t.Outbox.Settle(ctx, d)
}

// disable ends the telling, and records why.
func (t *Teller) disable(ctx context.Context, w Webhook, why string) error {
	p, err := t.Guard.Allow(ctx, name.Caller{Kind: name.System}, ActionDisable, Resource(w.Pool, w.ID))
	if err != nil {
		return err
	}
	t.Logger.LogAttrs(ctx, slog.LevelWarn, "webhook disabled: nobody takes its deliveries", slog.String("webhook", w.ID), slog.String("why", why))
	return t.Webhooks.SwitchWebhook(ctx, p.Failed(why), ActionDisable, w.Pool, w.ID, why)
}

// Sweep forgets what became of old deliveries.
func (t *Teller) Sweep(ctx context.Context) error {
	return t.Outbox.SweepDeliveries(ctx, t.Now().Add(-keep))
}

// answer is what a webhook did with a delivery; why is "" if it took it.
type answer struct {
	status   int
	why, fix string
}

func send(ctx context.Context, s Sender, w Webhook, key secret.Text, id string, at time.Time, body []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	got, err := s.Do(ctx, outbound.Request{Method: http.MethodPost, URL: w.URL, Purpose: "webhook", MaxBody: maxAnswer, Header: sign(key, id, at, body), Body: body})
	switch {
	case err != nil:
		f := fault.As(err)
		return answer{0, strings.TrimSpace(f.Code + ": " + f.Message), f.Fix}
	case got.Status < 200 || got.Status > 299:
		return answer{got.Status, fmt.Sprintf("the webhook answered with status %d", got.Status), ""}
	default:
		return answer{got.Status, "", ""}
	}
}
