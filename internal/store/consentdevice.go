package store

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/guard"
)

// BeginDevice implements [consent.Devices].
func (s Authorizations) BeginDevice(ctx context.Context, p guard.Permit, a consent.Authorization, d consent.Device) error {
	return s.DB.change(ctx, p, consent.ActionOpen, a.Resource(), func(ctx context.Context, tx *txn) error {
		if err := advance(ctx, tx, a); err != nil {
			return err
		}
		tx.topics = append(tx.topics, consent.DevicesTopic)
		_, err := exec(ctx, tx, `INSERT INTO consent_devices (authorization_id, pool, provider, issuer, subject, sealed, pause, due) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			a.ID, a.Pool, a.Provider, a.User.Issuer, a.User.Subject, d.Sealed, d.Pause.Milliseconds(), ms(d.Due))
		return err
	})
}

const consentDeviceColumns = `authorization_id, sealed, pause, due`

func scanConsentDevice(sc scanner) (consent.Device, error) {
	var d consent.Device
	var pause int64
	err := sc.Scan(&d.Authorization, &d.Sealed, &pause, timeMS{&d.Due})
	d.Pause = time.Duration(pause) * time.Millisecond
	return d, err
}

// Device implements [consent.Devices].
func (s Authorizations) Device(ctx context.Context, authorizationID string) (d consent.Device, err error) {
	err = row(ctx, s.DB.read, consent.NotFound(authorizationID), func(sc scanner) (err error) {
		d, err = scanConsentDevice(sc)
		return err
	}, `SELECT `+consentDeviceColumns+` FROM consent_devices WHERE authorization_id = $1`, authorizationID)
	return d, err
}

// DueDevices implements [consent.Devices].
func (s Authorizations) DueDevices(ctx context.Context, limit int) ([]consent.Device, error) {
	var list []consent.Device
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		d, err := scanConsentDevice(sc)
		list = append(list, d)
		return err
	}, `SELECT `+consentDeviceColumns+` FROM consent_devices ORDER BY due, authorization_id LIMIT $1`, limit)
	return list, err
}

// MoveDevice implements [consent.Devices].
func (s Authorizations) MoveDevice(ctx context.Context, former, next consent.Device) (bool, error) {
	var moved bool
	err := s.DB.transact(ctx, func(ctx context.Context, tx *txn) error {
		n, err := exec(ctx, tx, `UPDATE consent_devices SET pause = $1, due = $2 WHERE authorization_id = $3 AND due = $4`,
			next.Pause.Milliseconds(), ms(next.Due), former.Authorization, ms(former.Due))
		moved = n == 1
		return err
	})
	return moved && err == nil, err
}
