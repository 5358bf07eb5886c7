package consent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// DevicesTopic is rung when a device authorization has begun.
const DevicesTopic = "consent-devices"

// Device is the way in which the user of a redirected authorization agrees: at
// the third party, by a code that Deputy shows to him and to nobody else, while
// Deputy asks the third party now and then (RFC 8628).
type Device struct {
	Authorization string // id
	Sealed        []byte // the device code, and what is shown
	Pause         time.Duration
	Due           time.Time // the third party is not asked before
}

// Devices keeps device authorizations, of authorizations in state [Redirected].
type Devices interface {
	// BeginDevice is [Store.Advance] to Redirected, together with the device; it needs a permit for
	// ActionOpen. [DevicesTopic] is rung besides.
	BeginDevice(ctx context.Context, p guard.Permit, a Authorization, d Device) error
	// Device returns that of an authorization, or the fault of [NotFound].
	Device(ctx context.Context, authorizationID string) (Device, error)
	// DueDevices returns at most limit devices, those first that are due first, also before they are.
	DueDevices(ctx context.Context, limit int) ([]Device, error)
	// MoveDevice writes pause and time of next, if Due still is former's, and reports whether it was. Of
	// any number of callers, on all replicas, one succeeds; it is the one who may ask the third party.
	MoveDevice(ctx context.Context, former, next Device) (bool, error)
}

// The pauses between two questions to a third party about one authorization.
const (
	// askingFor is how long a replica that asks may take; then it is given up, and another one asks.
	askingFor  = 45 * time.Second
	answerTime = 15 * time.Second // of which the third party has so much
	maxPause   = time.Minute
	// maxAsked is how many third parties are asked at once.
	maxAsked = 16
)

// Shown is what the user of a device authorization is shown.
type Shown struct {
	UserCode string // to type
	At       string // the page to type it at
	Typed    string // the page with the code filled in; may be empty
}

// deviceSecrets is the plaintext of Device.Sealed.
type deviceSecrets struct {
	Code []byte `json:"c"`
	Shown
}

func devicePlace(a Authorization) keys.Place {
	return keys.Place{Kind: "authorization.device", Pool: a.Pool, Provider: a.Provider, User: a.User, Record: a.ID}
}

// openDevice begins a device authorization at the third party, and moves a to
// next, which is redirected. The third party comes first: what fails there leaves
// the link good, and what nobody agrees to ends by itself.
func (f *Flow) openDevice(ctx context.Context, p guard.Permit, d provider.Dialect, next Authorization) (Authorization, error) {
	begun, err := d.BeginDevice(ctx, next.Requested)
	if err != nil {
		return next, err
	}
	defer begun.Code.Clear()
	plain, err := json.Marshal(deviceSecrets{begun.Code.Reveal(), Shown{begun.UserCode, begun.VerifyAt, begun.VerifyTyped}})
	if err != nil {
		return next, err
	}
	device := Device{Authorization: next.ID, Pause: begun.Interval, Due: f.Now().UTC().Add(begun.Interval)}
	if device.Sealed, err = f.Sealer.Seal(ctx, devicePlace(next), secret.New(plain)); err != nil {
		return next, err
	}
	if begun.Expires.Before(next.Expires) {
		next.Expires = begun.Expires.UTC()
	}
	return next, f.Devices.BeginDevice(ctx, p, next, device)
}

func (f *Flow) unsealDevice(ctx context.Context, a Authorization, d Device) (deviceSecrets, error) {
	plain, err := f.Sealer.Open(ctx, devicePlace(a), d.Sealed)
	if err != nil {
		return deviceSecrets{}, err
	}
	defer plain.Clear()
	var s deviceSecrets
	if err := json.Unmarshal(plain.Reveal(), &s); err != nil {
		return deviceSecrets{}, fault.New(fault.Internal, "seal_broken", "the device code of authorization %s is not readable", a.ID)
	}
	return s, nil
}

// ShowDevice returns, to the person that it is for, an authorization that is
// redirected, and what he needs to agree to it. To everybody else it does not
// exist: with the code in hand, somebody could have another person agree for him.
// The code is the zero Shown when the authorization has ended.
func (f *Flow) ShowDevice(ctx context.Context, id string, who func(issuer string) name.Caller) (Authorization, Shown, error) {
	a, err := f.Result(ctx, id, who)
	if err != nil || a.State != Redirected {
		return a, Shown{}, err
	}
	d, err := f.Devices.Device(ctx, id)
	if err != nil {
		return a, Shown{}, err
	}
	s, err := f.unsealDevice(ctx, a, d)
	return a, s.Shown, err
}

// AwaitResult is [Flow.Result] as soon as the authorization has ended, or after
// at most limit.
func (f *Flow) AwaitResult(ctx context.Context, id string, limit time.Duration, who func(issuer string) name.Caller) (Authorization, error) {
	rings, stop := f.Bell.Listen(id)
	defer stop()
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		a, err := f.Result(ctx, id, who)
		if err != nil || a.State.Terminal() || f.changed(bounded, a, rings) != nil {
			return a, err
		}
	}
}

// AskDevices asks the third parties that may be asked now whether their users
// have agreed, and returns when the next one is due; the zero Time if none is.
// What cannot be asked now is asked later, until the authorization's time is over.
func (f *Flow) AskDevices(ctx context.Context) (time.Time, error) {
	devices, err := f.Devices.DueDevices(ctx, maxAsked)
	if err != nil {
		return time.Time{}, err
	}
	var next time.Time
	var asked sync.WaitGroup
	for _, d := range devices {
		if d.Due.After(f.Now()) {
			next = d.Due
			break // so are all that follow
		}
		asked.Go(func() {
			if err := f.askDevice(ctx, d); err != nil && ctx.Err() == nil {
				f.Logger.LogAttrs(ctx, slog.LevelWarn, "a third party could not be asked whether its user agreed; tried again later",
					slog.String("authorization", d.Authorization), slog.Any("err", fault.As(err)))
			}
		})
	}
	asked.Wait()
	if next.IsZero() && len(devices) > 0 {
		next = f.Now() // there may be more, and those that were asked have another time now
	}
	return next, nil
}

// askDevice asks one third party, if nobody else does.
func (f *Flow) askDevice(ctx context.Context, d Device) error {
	mine := d
	mine.Due = f.Now().UTC().Add(d.Pause + askingFor)
	if won, err := f.Devices.MoveDevice(ctx, d, mine); err != nil || !won {
		return err
	}
	a, err := f.Store.Authorization(ctx, d.Authorization)
	if err != nil {
		return err
	}
	if a, err = f.expire(ctx, a); err != nil || a.State != Redirected {
		return err
	}
	system := name.Caller{Kind: name.System} // the user is at the third party, and nobody is here
	p, err := f.Guard.Allow(ctx, system, ActionExchange, a.Resource())
	if err != nil {
		return err
	}
	p = p.With(a.Provider, a.Scopes, map[string]string{"workload": a.Workload.String()})
	dialect, err := f.Providers.Dialect(ctx, p, a.Pool, a.Provider)
	if err != nil {
		return f.askLater(ctx, mine, err)
	}
	defer dialect.App.ClientSecret.Clear()
	if a.ProviderVersion != dialect.Provider.Version {
		_, err := f.outdated(ctx, p, a)
		return err
	}
	s, err := f.unsealDevice(ctx, a, d)
	if err != nil {
		return err
	}
	code := secret.New(s.Code)
	defer code.Clear()
	// Not cut off by a shutdown: tokens may be under way, and the third party gives them once.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	tokens, slower, err := dialect.PollDevice(bounded, code)
	switch {
	case errors.Is(err, vendor.ErrPending):
		mine.Pause = min(mine.Pause+slower, maxPause)
		return f.moveDevice(ctx, mine, nil)
	case err != nil && unclear(err):
		return f.askLater(ctx, mine, err)
	case err != nil:
		_, err := f.failExchange(ctx, system, a, err)
		return err
	}
	_, err = f.received(context.WithoutCancel(ctx), system, dialect, a, tokens)
	return err
}

// askLater doubles the pause after a question without an answer (RFC 8628,
// section 3.5), and returns why.
func (f *Flow) askLater(ctx context.Context, d Device, why error) error {
	d.Pause = min(2*d.Pause, maxPause)
	return f.moveDevice(ctx, d, why)
}

// moveDevice gives a device back that was claimed.
func (f *Flow) moveDevice(ctx context.Context, claimed Device, why error) error {
	next := claimed
	next.Due = f.Now().UTC().Add(claimed.Pause)
	_, err := f.Devices.MoveDevice(ctx, claimed, next)
	return errors.Join(why, err)
}

// unclear reports whether an answer says nothing about the user's decision.
func unclear(err error) bool {
	var failure *vendor.Failure
	if errors.As(err, &failure) {
		return failure.Class == vendor.ClassRetry && failure.VendorCode != "expired_token" && failure.VendorCode != "access_denied"
	}
	return fault.Is(err, fault.Unavailable)
}

// KeepAsking asks third parties when they may be asked, until ctx is done. Every
// replica does.
func (f *Flow) KeepAsking(ctx context.Context) {
	// idle is how often is looked for what a replica that is gone has left behind.
	const idle = 30 * time.Second
	rings, stop := f.Bell.Listen(DevicesTopic)
	defer stop()
	for {
		wait := idle
		next, err := f.AskDevices(ctx)
		if err != nil && ctx.Err() == nil {
			f.Logger.LogAttrs(ctx, slog.LevelWarn, "device authorizations not read; tried again later", slog.Any("err", fault.As(err)))
		} else if !next.IsZero() {
			wait = min(idle, max(next.Sub(f.Now()), 50*time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-rings:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
