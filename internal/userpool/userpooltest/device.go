package userpooltest

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func (s *suite) newDevice(c userpool.Client) userpool.Device {
	return userpool.Device{
		Hash: userpool.HashDeviceCode(userpool.NewDeviceCode()), UserHash: userpool.NewUserCode().Hash(), ID: name.NewID("dev"), Pool: c.Pool, ClientID: c.ID,
		Scopes: s.scopes("openid profile"), Resources: []string{"https://api.example/"}, Address: "192.0.2.7", Agent: "television/3",
		CreatedAt: start, ExpiresAt: start.Add(userpool.DeviceLifetime), State: userpool.DevicePending,
	}
}

func (s *suite) createDevice(d userpool.Device) error {
	return s.CreateDevice(s.ctx(), s.permit(userpool.ActionCreateDevice, d.Resource()), d)
}

func (s *suite) addDevice(c userpool.Client) userpool.Device {
	s.t.Helper()
	d := s.newDevice(c)
	s.must(s.createDevice(d))
	d.CreatedAt, d.ExpiresAt = kept(d.CreatedAt), kept(d.ExpiresAt)
	return d
}

// decided returns d as u decides about it.
func decided(d userpool.Device, u userpool.User, state userpool.DeviceState) userpool.Device {
	d.State, d.UserID, d.AuthTime, d.Methods = state, u.ID, kept(start), []string{"pwd", "otp"}
	return d
}

func (s *suite) decide(d userpool.Device) error {
	return s.DecideDevice(s.ctx(), s.permit(userpool.ActionDecideDevice, d.Resource()), d)
}

// family returns a family without refresh token that redeeming d may begin.
func family(d userpool.Device) userpool.Beginning {
	return userpool.Beginning{Family: userpool.Family{
		ID: name.NewID("fam"), Pool: d.Pool, ClientID: d.ClientID, UserID: d.UserID, Scopes: d.Scopes, Resources: d.Resources,
		AuthTime: d.AuthTime, Methods: d.Methods, CreatedAt: start, ExpiresAt: start.Add(time.Hour),
	}}
}

func (s *suite) redeemDevice(d userpool.Device) error {
	return s.RedeemDevice(s.ctx(), s.permit(userpool.ActionRedeemDevice, d.Resource()), d.Pool, d.ID, family(d))
}

// is fails the test unless d is what is stored, under both codes.
func (s *suite) is(d userpool.Device) {
	s.t.Helper()
	got, err := s.Device(s.ctx(), d.Pool, d.Hash)
	s.must(err)
	s.same("by the device code", got, d)
	got, err = s.DeviceByUserCode(s.ctx(), d.Pool, d.UserHash)
	s.must(err)
	s.same("by the user code", got, d)
}

// isGone fails the test if something is stored under a code of d in the pool.
func (s *suite) isGone(pool string, d userpool.Device) {
	s.t.Helper()
	_, err := s.Device(s.ctx(), pool, d.Hash)
	s.code(err, "device_not_found")
	_, err = s.DeviceByUserCode(s.ctx(), pool, d.UserHash)
	s.code(err, "device_not_found")
}

func testDevices(t *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	user, client, foreign := s.addUser("staff", "zhang"), s.addClient("staff", "tv"), s.addClient("guests", "tv")
	d, other := s.addDevice(client), s.addDevice(client)
	s.is(d)
	s.isGone("guests", d)

	twin := s.newDevice(client)
	twin.UserHash = d.UserHash
	s.code(s.createDevice(twin), "device_exists")
	twin.Pool, twin.ClientID = "guests", foreign.ID
	s.must(s.createDevice(twin)) // each pool has its own user codes
	stray := s.newDevice(client)
	stray.ClientID = "cli_unknown"
	s.code(s.createDevice(stray), "client_not_found")

	s.code(s.redeemDevice(d), "device_used")
	allowed := decided(d, user, userpool.DeviceAllowed)
	elsewhere := allowed
	elsewhere.Pool = "guests"
	s.code(s.decide(elsewhere), "device_not_found")
	s.code(s.redeemDevice(elsewhere), "device_not_found")
	s.must(s.decide(allowed))
	s.is(allowed)
	s.code(s.decide(decided(d, user, userpool.DeviceDenied)), "device_decided")
	b := family(allowed)
	s.must(s.RedeemDevice(s.ctx(), s.permit(userpool.ActionRedeemDevice, d.Resource()), "staff", d.ID, b))
	begun, err := s.Family(s.ctx(), "staff", b.Family.ID)
	s.must(err)
	s.same("the client of the family", begun.ClientID, client.ID)
	allowed.State = userpool.DeviceRedeemed
	s.is(allowed)
	again := family(allowed)
	s.code(s.RedeemDevice(s.ctx(), s.permit(userpool.ActionRedeemDevice, d.Resource()), "staff", d.ID, again), "device_used")
	_, err = s.Family(s.ctx(), "staff", again.Family.ID)
	s.code(err, "family_not_found")

	s.must(s.decide(decided(other, user, userpool.DeviceDenied)))
	s.code(s.redeemDevice(other), "device_used")

	// They go with the client, with the user who decided, and with time.
	pending, old := s.addDevice(foreign), s.addDevice(client)
	s.must(s.DeleteUser(s.ctx(), s.permit(userpool.ActionDeleteUser, user.Resource()), "staff", user.ID))
	s.isGone("staff", d)
	s.is(old)
	s.must(s.DeleteClient(s.ctx(), s.permit(userpool.ActionDeleteClient, foreign.Resource()), "guests", foreign.ID))
	s.isGone("guests", pending)
	n, err := s.Sweep(s.ctx(), s.permit(userpool.ActionSweep, userpool.SweepResource()), old.ExpiresAt.Add(time.Millisecond))
	s.must(err)
	s.same("swept", n, 1)
	s.isGone("staff", old)
}

func testDevicePermits(t *testing.T, s *suite) {
	s.addPool("staff")
	user, client := s.addUser("staff", "zhang"), s.addClient("staff", "tv")
	d := s.newDevice(client)
	for _, w := range []struct {
		action guard.Action
		do     func(guard.Permit) error
	}{
		{userpool.ActionCreateDevice, func(p guard.Permit) error { return s.CreateDevice(s.ctx(), p, d) }},
		{userpool.ActionDecideDevice, func(p guard.Permit) error {
			return s.DecideDevice(s.ctx(), p, decided(d, user, userpool.DeviceAllowed))
		}},
		{userpool.ActionRedeemDevice, func(p guard.Permit) error {
			return s.RedeemDevice(s.ctx(), p, d.Pool, d.ID, family(decided(d, user, userpool.DeviceAllowed)))
		}},
	} {
		s.code(w.do(guard.Permit{}), "permit_missing")
		s.code(w.do(s.permit("user.dance", d.Resource())), "permit_mismatch")
		s.code(w.do(s.permit(w.action, userpool.DeviceResource("guests", d.ID))), "permit_mismatch")
		s.same("entries of refused writes", len(s.entries(w.action)), 0)
		s.must(w.do(s.permit(w.action, d.Resource())))
		s.same("entries of one write", len(s.entries(w.action)), 1)
		s.code(w.do(s.permit(w.action, d.Resource())), map[guard.Action]string{
			userpool.ActionCreateDevice: "device_exists", userpool.ActionDecideDevice: "device_decided", userpool.ActionRedeemDevice: "device_used",
		}[w.action])
		s.same("entries after a write that failed", len(s.entries(w.action)), 1)
	}
}

func testOneDevice(t *testing.T, s *suite) {
	s.addPool("staff")
	user, client := s.addUser("staff", "zhang"), s.addClient("staff", "tv")
	taken := s.newDevice(client)
	s.same("requests of one user code", s.race("device_exists", func(int) error {
		d := s.newDevice(client)
		d.UserHash = taken.UserHash
		return s.createDevice(d)
	}), 1)
	d := s.addDevice(client)
	s.same("decisions about one request", s.race("device_decided", func(i int) error {
		return s.decide(decided(d, user, []userpool.DeviceState{userpool.DeviceAllowed, userpool.DeviceDenied}[i%2]))
	}), 1)
	d = s.addDevice(client)
	s.must(s.decide(decided(d, user, userpool.DeviceAllowed)))
	s.same("redemptions of one request", s.race("device_used", func(int) error { return s.redeemDevice(decided(d, user, userpool.DeviceAllowed)) }), 1)
	_, err := s.Device(s.ctx(), "staff", userpool.HashDeviceCode(secret.FromString("dc_unknown")))
	s.code(err, "device_not_found")
}
