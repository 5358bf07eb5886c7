package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/notice"
)

// Webhooks keeps webhooks and their deliveries; it implements
// [notice.Webhooks] and [notice.Outbox].
type Webhooks struct{ DB *DB }

const webhookColumns = `id, pool, url, events, sealed, disabled, told, taken, created`

func webhookList(ctx context.Context, q querier, where string, args ...any) ([]notice.Webhook, error) {
	var list []notice.Webhook
	err := rows(ctx, q, func(sc scanner) error {
		var w notice.Webhook
		err := sc.Scan(&w.ID, &w.Pool, &w.URL, jsonText{&w.Events}, &w.Sealed, &w.Disabled, &w.Told, timeMS{&w.Taken}, timeMS{&w.Created})
		list = append(list, w)
		return err
	}, `SELECT `+webhookColumns+` FROM webhooks WHERE `+where+` ORDER BY id`, args...)
	return list, err
}

// CreateWebhook implements [notice.Webhooks].
func (s Webhooks) CreateWebhook(ctx context.Context, p guard.Permit, w notice.Webhook) error {
	events, err := toJSON(w.Events)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, notice.ActionCreate, notice.Resource(w.Pool, w.ID), func(ctx context.Context, tx *txn) error {
		if err := lockPool(ctx, tx, w.Pool); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `INSERT INTO webhooks (`+webhookColumns+`) VALUES ($1, $2, $3, $4, $5, $6, (SELECT seq FROM audit_head WHERE id = 1), 0, $7)`,
			w.ID, w.Pool, w.URL, events, w.Sealed, w.Disabled, ms(w.Created))
		return err
	})
}

// Webhook implements [notice.Webhooks].
func (s Webhooks) Webhook(ctx context.Context, pool, id string) (notice.Webhook, error) {
	list, err := webhookList(ctx, s.DB.read, `pool = $1 AND id = $2`, pool, id)
	if err != nil {
		return notice.Webhook{}, err
	}
	if len(list) == 0 {
		return notice.Webhook{}, notice.NotFound(id)
	}
	return list[0], nil
}

// Webhooks implements [notice.Webhooks].
func (s Webhooks) Webhooks(ctx context.Context, pool string) ([]notice.Webhook, error) {
	if _, err := (Workloads{s.DB}).WorkloadPool(ctx, pool); err != nil {
		return nil, err
	}
	return webhookList(ctx, s.DB.read, `pool = $1`, pool)
}

// SwitchWebhook implements [notice.Webhooks].
func (s Webhooks) SwitchWebhook(ctx context.Context, p guard.Permit, action guard.Action, pool, id, why string) error {
	return s.DB.change(ctx, p, action, notice.Resource(pool, id), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, notice.NotFound(id), `UPDATE webhooks SET disabled = $1, told = (SELECT seq FROM audit_head WHERE id = 1) WHERE pool = $2 AND id = $3`, why, pool, id)
		if err != nil || why == "" {
			return err
		}
		_, err = exec(ctx, tx, `UPDATE webhook_deliveries SET state = 'given-up', last_error = $1, updated = $2 WHERE webhook_id = $3 AND state = 'pending'`, why, ms(p.Entry().Time), id)
		return err
	})
}

// DeleteWebhook implements [notice.Webhooks].
func (s Webhooks) DeleteWebhook(ctx context.Context, p guard.Permit, pool, id string) error {
	return s.DB.change(ctx, p, notice.ActionDelete, notice.Resource(pool, id), func(ctx context.Context, tx *txn) error {
		return must(ctx, tx, notice.NotFound(id), `DELETE FROM webhooks WHERE pool = $1 AND id = $2`, pool, id)
	})
}

const deliveryColumns = `id, webhook_id, pool, event, payload, state, attempts, status, last_error, created, due, updated`

func deliveryList(ctx context.Context, q querier, text string, args ...any) ([]notice.Delivery, error) {
	var list []notice.Delivery
	err := rows(ctx, q, func(sc scanner) error {
		var d notice.Delivery
		err := sc.Scan(&d.ID, &d.WebhookID, &d.Pool, &d.Event, &d.Payload, &d.State, &d.Attempts, &d.Status, &d.LastError, timeMS{&d.Created}, timeMS{&d.Due}, timeMS{&d.Updated})
		list = append(list, d)
		return err
	}, text, args...)
	return list, err
}

// Deliveries implements [notice.Webhooks].
func (s Webhooks) Deliveries(ctx context.Context, pool, id string, limit int) ([]notice.Delivery, error) {
	if _, err := s.Webhook(ctx, pool, id); err != nil {
		return nil, err
	}
	return deliveryList(ctx, s.DB.read, `SELECT `+deliveryColumns+` FROM webhook_deliveries WHERE webhook_id = $1 ORDER BY created DESC, id LIMIT $2`, id, limit)
}

// Enabled implements [notice.Outbox].
func (s Webhooks) Enabled(ctx context.Context) ([]notice.Webhook, error) {
	return webhookList(ctx, s.DB.read, `disabled = ''`)
}

// Spread implements [notice.Outbox].
func (s Webhooks) Spread(ctx context.Context, w notice.Webhook, told int64, deliveries []notice.Delivery) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		n, err := exec(ctx, tx, `UPDATE webhooks SET told = $1 WHERE id = $2 AND told = $3 AND disabled = ''`, told, w.ID, w.Told)
		if err != nil || n == 0 {
			return err
		}
		for _, d := range deliveries {
			if _, err := exec(ctx, tx, `INSERT INTO webhook_deliveries (`+deliveryColumns+`) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, '', $7, $8, $9)`,
				d.ID, w.ID, w.Pool, string(d.Event), d.Payload, string(d.State), ms(d.Created), ms(d.Due), ms(d.Updated)); err != nil {
				return err
			}
		}
		if len(deliveries) > 0 {
			tx.topics = append(tx.topics, notice.DeliveryTopic)
		}
		return nil
	})
}

// TakeDeliveries implements [notice.Outbox].
func (s Webhooks) TakeDeliveries(ctx context.Context, now, then time.Time, limit int) ([]notice.Delivery, error) {
	var list []notice.Delivery
	err := s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		var err error
		list, err = deliveryList(ctx, tx, `UPDATE webhook_deliveries SET due = $1 WHERE due <= $2 AND state = 'pending' AND id IN
			(SELECT d.id FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id AND w.disabled = '' WHERE d.state = 'pending' AND d.due <= $2 ORDER BY d.due, d.id LIMIT $3)
			RETURNING `+deliveryColumns, ms(then), ms(now), limit)
		return err
	})
	return list, err
}

// Settle implements [notice.Outbox].
func (s Webhooks) Settle(ctx context.Context, d notice.Delivery) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx, `UPDATE webhook_deliveries SET state = $1, attempts = $2, status = $3, last_error = $4, due = $5, updated = $6 WHERE id = $7`,
			string(d.State), d.Attempts, d.Status, d.LastError, ms(d.Due), ms(d.Updated), d.ID)
		if err == nil && d.State == notice.Delivered {
			_, err = exec(ctx, tx, `UPDATE webhooks SET taken = $1 WHERE id = $2 AND taken < $1`, ms(d.Updated), d.WebhookID)
		}
		return err
	})
}

// SweepDeliveries implements [notice.Outbox].
func (s Webhooks) SweepDeliveries(ctx context.Context, t time.Time) error {
	return s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		_, err := exec(ctx, tx, `DELETE FROM webhook_deliveries WHERE state <> 'pending' AND updated < $1`, ms(t))
		return err
	})
}
