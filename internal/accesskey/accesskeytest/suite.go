// Package accesskeytest has the suite that holds a store to the contract of package accesskey.
package accesskeytest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/accesskey"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/contract"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/workload"
)

// Backend is an accesskey.Store to be tested, empty, with the store of its
// workloads. The workload pools "default" and "other" exist.
type Backend struct {
	accesskey.Store
	Workloads workload.Store
	Entries   func(ctx context.Context) ([]audit.Entry, error)
}

// TestStore checks that what open returns does what accesskey.Store says.
func TestStore(t *testing.T, open func(*testing.T) Backend) {
	for what, test := range map[string]func(*suite){
		"kept as given": (*suite).keep, "bounded": (*suite).full, "used": (*suite).use, "gone with the workload": (*suite).workloadGoes, "permits": (*suite).permits, "races": (*suite).races,
	} {
		t.Run(what, func(t *testing.T) {
			b := open(t)
			s := &suite{contract.Case{T: t, Entries: b.Entries}, b}
			for _, w := range []name.Workload{doc, mail, other} {
				s.workload(w)
			}
			test(s)
		})
	}
}

type suite struct {
	contract.Case
	Backend
}

var (
	doc   = name.Workload{Pool: "default", Name: "doc"}
	mail  = name.Workload{Pool: "default", Name: "mail"}
	other = name.Workload{Pool: "other", Name: "doc"}
)

func (s *suite) workload(w name.Workload) {
	s.T.Helper()
	s.Must(s.Workloads.CreateWorkload(s.Ctx(), s.Permit(workload.ActionCreate, workload.Resource(w)), workload.Workload{Identity: w, Version: 1, Created: contract.Start}))
}

func newKey(w name.Workload, keyName string) accesskey.Key {
	return accesskey.Key{ID: name.NewID("ak"), Workload: w, Name: keyName, Sealed: []byte{1, 2}, Created: contract.Kept(contract.Start), Expires: contract.Kept(contract.Start.Add(time.Hour))}
}

func (s *suite) add(k accesskey.Key) error {
	return s.AddAccessKey(s.Ctx(), s.Permit(accesskey.ActionCreate, accesskey.Resource(k.Workload.Pool, k.ID)), k)
}

func (s *suite) delete(w name.Workload, id string) error {
	return s.DeleteAccessKey(s.Ctx(), s.Permit(accesskey.ActionDelete, accesskey.Resource(w.Pool, id)), w, id)
}

func (s *suite) are(w name.Workload, want ...accesskey.Key) {
	s.T.Helper()
	got, err := s.AccessKeys(s.Ctx(), w)
	s.Must(err)
	s.Same("the keys of "+w.String(), got, want)
}

func (s *suite) keep() {
	ci, batch, elsewhere := newKey(doc, "ci"), newKey(doc, "batch"), newKey(other, "ci")
	for _, k := range []accesskey.Key{ci, batch, elsewhere} {
		s.Must(s.add(k))
	}
	s.Code(s.add(newKey(doc, "ci")), "access-key_exists")
	s.Code(s.add(newKey(name.Workload{Pool: "default", Name: "nobody"}, "ci")), "workload_not_found")
	s.are(doc, batch, ci)
	s.are(other, elsewhere)
	s.are(mail)
	got, err := s.AccessKey(s.Ctx(), ci.ID)
	s.Must(err)
	s.Same("one", got, ci)
	_, err = s.AccessKey(s.Ctx(), "ak_nobody")
	s.Code(err, "access-key_not_found")
	s.Code(s.delete(mail, ci.ID), "access-key_not_found")
	s.Code(s.delete(other, ci.ID), "access-key_not_found")
	s.Must(s.delete(doc, ci.ID))
	s.Code(s.delete(doc, ci.ID), "access-key_not_found")
	s.are(doc, batch)
}

func (s *suite) full() {
	for i := range accesskey.MaxKeys {
		s.Must(s.add(newKey(doc, fmt.Sprintf("k%d", i))))
	}
	s.Code(s.add(newKey(doc, "more")), "access_keys_full")
	s.Must(s.add(newKey(mail, "more")))
}

func signature(s string) secret.Hash { return secret.FromString(s).Digest("test") }

func (s *suite) use() {
	k, o := newKey(doc, "ci"), newKey(doc, "batch")
	s.Must(s.add(k))
	s.Must(s.add(o))
	at := contract.Kept(contract.Start)
	until := at.Add(time.Minute)
	s.Must(s.UseAccessKey(s.Ctx(), k.ID, signature("a"), at, until))
	got, err := s.AccessKey(s.Ctx(), k.ID)
	s.Must(err)
	s.Same("when it was used", got.Used, at)
	s.Code(s.UseAccessKey(s.Ctx(), k.ID, signature("a"), until.Add(-time.Millisecond), until), "signature_replayed")
	if got, err = s.AccessKey(s.Ctx(), k.ID); err != nil || !got.Used.Equal(at) {
		s.T.Errorf("a replay was a use: %v, %v", got.Used, err)
	}
	s.Must(s.UseAccessKey(s.Ctx(), k.ID, signature("b"), at, until))
	s.Must(s.UseAccessKey(s.Ctx(), o.ID, signature("a"), at, until))
	for range 2 { // no signature is no replay
		s.Must(s.UseAccessKey(s.Ctx(), k.ID, secret.Hash{}, at.Add(time.Second), at))
	}
	s.Must(s.UseAccessKey(s.Ctx(), k.ID, signature("a"), until, until.Add(time.Minute))) // which its time would not have allowed
	s.Code(s.UseAccessKey(s.Ctx(), "ak_nobody", signature("a"), at, until), "access-key_not_found")
}

func (s *suite) workloadGoes() {
	k := newKey(doc, "ci")
	s.Must(s.add(k))
	s.Must(s.UseAccessKey(s.Ctx(), k.ID, signature("a"), contract.Start, contract.Start.Add(time.Hour)))
	s.Must(s.Workloads.DeleteWorkload(s.Ctx(), s.Permit(workload.ActionDelete, workload.Resource(doc)), doc))
	_, err := s.AccessKey(s.Ctx(), k.ID)
	s.Code(err, "access-key_not_found")
	s.workload(doc)
	s.are(doc)
}

func (s *suite) permits() {
	k := newKey(doc, "ci")
	at := accesskey.Resource("default", k.ID)
	s.Permits(
		contract.Write{Action: accesskey.ActionCreate, Resource: at, Do: func(p guard.Permit) error { return s.AddAccessKey(s.Ctx(), p, k) }},
		contract.Write{Action: accesskey.ActionDelete, Resource: at, Do: func(p guard.Permit) error { return s.DeleteAccessKey(s.Ctx(), p, doc, k.ID) }},
	)
}

func (s *suite) races() {
	k := newKey(doc, "ci")
	s.Must(s.add(k))
	if won := s.Race("signature_replayed", func(int) error {
		return s.UseAccessKey(s.Ctx(), k.ID, signature("a"), contract.Start, contract.Start.Add(time.Hour))
	}); won != 1 {
		s.T.Errorf("one signature was good %d times", won)
	}
	if won := s.Race("access_keys_full", func(i int) error { return s.add(newKey(doc, fmt.Sprintf("k%d", i))) }); won != accesskey.MaxKeys-1 {
		s.T.Errorf("%d more keys", won)
	}
}
