package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/store"
)

// testConsentDevices is the contract of [consent.Devices].
func testConsentDevices(t *testing.T, open Open) {
	first, second := open(t)
	s := setUp(t, first).authorizations
	var begun []consent.Device
	for i, a := range []consent.Authorization{pending(agentA, zhang), pending(agentB, zhang), pending(agentA, li)} {
		must(t, s.BeginAuthorization(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a))
		rings, stop := store.Bell{DB: first}.Listen(consent.DevicesTopic)
		a.State, a.Version, a.Expires = consent.Redirected, 2, moment.Add(time.Minute)
		d := consent.Device{Authorization: a.ID, Sealed: []byte("sealed"), Pause: 5 * time.Second, Due: moment.Add(time.Duration(3-i) * time.Second)}
		wantCode(t, s.BeginDevice(t.Context(), Permit(t, consent.ActionBegin, a.Resource()), a, d), "permit_mismatch")
		must(t, s.BeginDevice(t.Context(), Permit(t, consent.ActionOpen, a.Resource()), a, d))
		wantCode(t, s.BeginDevice(t.Context(), Permit(t, consent.ActionOpen, a.Resource()), a, d), "authorization_changed")
		<-rings
		stop()
		got, err := s.Authorization(t.Context(), a.ID)
		must(t, err)
		if got.State != consent.Redirected || !got.Expires.Equal(a.Expires) {
			t.Errorf("the authorization is %s until %s", got.State, got.Expires)
		}
		found, err := s.Device(t.Context(), a.ID)
		must(t, err)
		if diff := cmp.Diff(d, found); diff != "" {
			t.Error(diff)
		}
		begun = append(begun, d)
	}
	due, err := s.DueDevices(t.Context(), 2)
	must(t, err)
	if diff := cmp.Diff([]consent.Device{begun[2], begun[1]}, due); diff != "" {
		t.Error(diff)
	}
	_, err = s.Device(t.Context(), "auth_none")
	wantCode(t, err, "authorization_not_found")

	// Of many who move a device, on all replicas, one does.
	next := begun[2]
	next.Due, next.Pause = moment.Add(time.Minute), 10*time.Second
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 12 {
		db := []*store.DB{first, second}[i%2]
		all.Go(func() {
			moved, err := store.Authorizations{DB: db}.MoveDevice(t.Context(), begun[2], next)
			if err != nil {
				t.Error(err)
			}
			if moved {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if found, err := s.Device(t.Context(), next.Authorization); err != nil || won.Load() != 1 || !cmp.Equal(found, next) {
		t.Errorf("%d have moved it to %+v, %v", won.Load(), found, err)
	}

	// With the authorization ends its device.
	a, err := s.Authorization(t.Context(), begun[0].Authorization)
	must(t, err)
	a.State, a.Version = consent.Failed, 3
	must(t, s.Advance(t.Context(), Permit(t, consent.ActionExchange, a.Resource()), consent.ActionExchange, a))
	_, err = s.Device(t.Context(), a.ID)
	wantCode(t, err, "authorization_not_found")
	if moved, err := s.MoveDevice(t.Context(), begun[0], next); moved || err != nil {
		t.Errorf("what has ended was moved: %t, %v", moved, err)
	}
}
