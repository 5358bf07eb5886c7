package userpool

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// The bounds of device requests.
const (
	DeviceLifetime = 10 * time.Minute // from the request to its redemption
	DeviceInterval = 5 * time.Second  // least time between two polls of a device (RFC 8628, section 3.2)
)

// Device is the request of a device that cannot show a login page (RFC 8628).
// The device has the device code, the person reads the user code from it and
// enters it in a browser; the store has the hashes of both.
type Device struct {
	Hash      secret.Hash // see [HashDeviceCode]
	UserHash  secret.Hash // see [UserCode.Hash]; unique in the pool
	ID        string      // "dev_…", for audit; of no use as a credential
	Pool      string
	ClientID  string
	Scopes    name.Scopes
	Resources []string // RFC 8707; empty: tokens for the client itself
	Address   string   // from where the device asked
	Agent     string   // with which program, in its own words; at most 200 bytes
	CreatedAt time.Time
	ExpiresAt time.Time
	State     DeviceState

	// Who decided, and how he had proved who he is; empty while the request is pending.
	UserID   string
	AuthTime time.Time
	Methods  []string
}

// DeviceState says what became of a device's request.
type DeviceState string

// The states of a device's request.
const (
	DevicePending  DeviceState = "pending"
	DeviceAllowed  DeviceState = "allowed"
	DeviceDenied   DeviceState = "denied"
	DeviceRedeemed DeviceState = "redeemed"
)

// The actions on device requests.
const (
	ActionCreateDevice guard.Action = "device.create"
	ActionDecideDevice guard.Action = "device.decide"
	ActionRedeemDevice guard.Action = "device.redeem"
)

// DeviceResource returns what guard permits about a device's request.
func DeviceResource(pool, id string) guard.Resource {
	return guard.Resource{Kind: "device", Pool: pool, ID: id}
}

// Resource returns what guard permits about d.
func (d Device) Resource() guard.Resource { return DeviceResource(d.Pool, d.ID) }

// NewDeviceCode returns a fresh device code.
func NewDeviceCode() secret.Text { return secret.FromString(name.NewToken("dc")) }

// HashDeviceCode returns what a device's request is stored under.
func HashDeviceCode(code secret.Text) secret.Hash { return code.Digest("device code") }

// UserCode is what a person reads from one screen and types on another: eight
// letters of [userCodeLetters], kept without the dash that is shown.
type UserCode string

// userCodeLetters has no vowels, so that no words come about, and no letters
// that look like others or like digits (RFC 8628, section 6.1). Eight of them are
// 34 bits: a few guesses, which is all that a person gets in ten minutes, find a
// code among a million pending ones with a chance of less than one in a thousand.
const userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"

const userCodeLength = 8

// NewUserCode returns a fresh user code.
func NewUserCode() UserCode {
	code := make([]byte, 0, userCodeLength)
	var b [userCodeLength * 2]byte
	for {
		_, _ = rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
		for _, r := range b {
			// 240 is a multiple of 20: with what is above, the first letters would be more frequent.
			if r < 240 {
				code = append(code, userCodeLetters[int(r)%len(userCodeLetters)])
			}
			if len(code) == userCodeLength {
				return UserCode(code)
			}
		}
	}
}

// ParseUserCode reads what a person typed: case, dashes and spaces do not matter.
// It reports whether that can be a user code.
func ParseUserCode(typed string) (UserCode, bool) {
	if len(typed) > 4*userCodeLength {
		return "", false
	}
	code := make([]byte, 0, userCodeLength)
	for _, b := range []byte(typed) { // bytes: letters that fold to one of ours are none of ours
		if 'a' <= b && b <= 'z' {
			b -= 'a' - 'A'
		}
		switch {
		case b == '-' || b == ' ':
		case strings.IndexByte(userCodeLetters, b) >= 0:
			code = append(code, b)
		default:
			return "", false
		}
	}
	return UserCode(code), len(code) == userCodeLength
}

// String returns the code as it is shown, XXXX-XXXX.
func (c UserCode) String() string {
	return string(c[:userCodeLength/2]) + "-" + string(c[userCodeLength/2:])
}

// Hash returns what is stored of c. It keeps a reader of the database from
// entering codes at a glance, not from trying all: the code has few bits, and
// expires soon instead.
func (c UserCode) Hash() secret.Hash { return secret.FromString(string(c)).Digest("user code") }

// Devices keeps the requests of devices.
type Devices interface {
	// CreateDevice adds a request; ActionCreateDevice. Exists("device", "") if another one in the pool, alive
	// or not, has its user code.
	CreateDevice(ctx context.Context, p guard.Permit, d Device) error
	// Device returns the request with that hash of a device code, in whatever state, or NotFound("device", "").
	Device(ctx context.Context, pool string, hash secret.Hash) (Device, error)
	// DeviceByUserCode is Device by the hash of the user code.
	DeviceByUserCode(ctx context.Context, pool string, hash secret.Hash) (Device, error)
	// DecideDevice sets State, UserID, AuthTime and Methods of a request that is pending; ActionDecideDevice.
	// Of any number of calls exactly one returns nil; the others get [DeviceDecided]. NotFound("device", id) if there is none.
	DecideDevice(ctx context.Context, p guard.Permit, d Device) error
	// RedeemDevice turns a request that was allowed into a redeemed one and begins the family b;
	// ActionRedeemDevice. Of any number of calls exactly one returns nil; the others get [DeviceUsed].
	// NotFound("device", id) if there is none.
	RedeemDevice(ctx context.Context, p guard.Permit, pool, id string, b Beginning) error
}

// DeviceDecided returns the fault for the second decision about a request.
func DeviceDecided() *fault.Error {
	return fault.New(fault.Conflict, "device_decided", "this request was answered before").WithFix("begin again on the device")
}

// DeviceUsed returns the fault for redeeming a request that is not, or no longer, allowed.
func DeviceUsed() *fault.Error {
	return fault.New(fault.Conflict, "device_used", "the device code was used before").WithFix("begin again on the device")
}
