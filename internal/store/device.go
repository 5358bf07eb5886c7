package store

import (
	"context"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

const deviceColumns = `hash, user_hash, id, pool, client_id, scopes, resources, address, agent, created, expires, state, auth_time, methods`

// CreateDevice implements [userpool.Devices].
func (s UserPools) CreateDevice(ctx context.Context, p guard.Permit, d userpool.Device) error {
	resources, err := toJSON(d.Resources)
	if err != nil {
		return err
	}
	methods, err := toJSON(d.Methods)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionCreateDevice, d.Resource(), func(ctx context.Context, tx *txn) error {
		if err := must(ctx, tx, userpool.NotFound("client", d.ClientID), `UPDATE clients SET version = version WHERE pool = $1 AND id = $2`, d.Pool, d.ClientID); err != nil {
			return err
		}
		return must(ctx, tx, userpool.Exists("device", ""),
			`INSERT INTO devices (`+deviceColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING`,
			d.Hash.String(), d.UserHash.String(), d.ID, d.Pool, d.ClientID, d.Scopes.String(), resources, d.Address, d.Agent, ms(d.CreatedAt), ms(d.ExpiresAt), string(d.State),
			ms(d.AuthTime), methods)
	})
}

func (s UserPools) device(ctx context.Context, where, pool string, hash secret.Hash) (userpool.Device, error) {
	var d userpool.Device
	err := row(ctx, s.DB.read, userpool.NotFound("device", ""), func(sc scanner) error {
		return sc.Scan(hashText{&d.Hash}, hashText{&d.UserHash}, &d.ID, &d.Pool, &d.ClientID, scopesText{&d.Scopes}, jsonText{&d.Resources}, &d.Address, &d.Agent,
			timeMS{&d.CreatedAt}, timeMS{&d.ExpiresAt}, &d.State, timeMS{&d.AuthTime}, jsonText{&d.Methods}, &d.UserID)
	}, `SELECT `+deviceColumns+`, COALESCE(user_id, '') FROM devices WHERE pool = $1 AND `+where, pool, hash.String())
	return d, err
}

// Device implements [userpool.Devices].
func (s UserPools) Device(ctx context.Context, pool string, hash secret.Hash) (userpool.Device, error) {
	return s.device(ctx, `hash = $2`, pool, hash)
}

// DeviceByUserCode implements [userpool.Devices].
func (s UserPools) DeviceByUserCode(ctx context.Context, pool string, hash secret.Hash) (userpool.Device, error) {
	return s.device(ctx, `user_hash = $2`, pool, hash)
}

// DecideDevice implements [userpool.Devices].
func (s UserPools) DecideDevice(ctx context.Context, p guard.Permit, d userpool.Device) error {
	methods, err := toJSON(d.Methods)
	if err != nil {
		return err
	}
	return s.DB.change(ctx, p, userpool.ActionDecideDevice, d.Resource(), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, userpool.DeviceDecided(),
			`UPDATE devices SET state = $1, user_id = $2, auth_time = $3, methods = $4 WHERE pool = $5 AND id = $6 AND state = $7`,
			string(d.State), d.UserID, ms(d.AuthTime), methods, d.Pool, d.ID, string(userpool.DevicePending))
		return changedOrGone(ctx, tx, err, "device", d.Pool, d.ID, countDevice)
	})
}

const countDevice = `SELECT COUNT(*) FROM devices WHERE pool = $1 AND id = $2`

// RedeemDevice implements [userpool.Devices].
func (s UserPools) RedeemDevice(ctx context.Context, p guard.Permit, pool, id string, b userpool.Beginning) error {
	return s.DB.change(ctx, p, userpool.ActionRedeemDevice, userpool.DeviceResource(pool, id), func(ctx context.Context, tx *txn) error {
		err := must(ctx, tx, userpool.DeviceUsed(), `UPDATE devices SET state = $1 WHERE pool = $2 AND id = $3 AND state = $4`,
			string(userpool.DeviceRedeemed), pool, id, string(userpool.DeviceAllowed))
		if err != nil {
			return changedOrGone(ctx, tx, err, "device", pool, id, countDevice)
		}
		return beginFamily(ctx, tx, b)
	})
}

// sweepDevices removes the requests of all pools that expired before t.
const sweepDevices = `DELETE FROM devices WHERE expires < $1`

// hashText scans a stored hash.
type hashText struct{ h *secret.Hash }

// Scan implements [sql.Scanner].
func (s hashText) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fault.New(fault.Internal, "store_type", "a stored hash is not text")
	}
	var err error
	*s.h, err = secret.ParseHash(text)
	return err
}
