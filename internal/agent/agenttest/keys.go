package agenttest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/contract"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// KeyBackend is an agent.KeyStore to be tested, empty, with the store of its
// agents. The workload pools "default" and "other" exist.
type KeyBackend struct {
	agent.KeyStore
	Agents  agent.Store
	Entries func(ctx context.Context) ([]audit.Entry, error)
}

// TestKeys checks that what open returns does what agent.KeyStore says.
func TestKeys(t *testing.T, open func(*testing.T) KeyBackend) {
	for what, test := range map[string]func(*keySuite){
		"kept as given": (*keySuite).keep, "permits": (*keySuite).permits, "bounded": (*keySuite).full, "gone with the agent": (*keySuite).agentGoes, "races": (*keySuite).races,
	} {
		t.Run(what, func(t *testing.T) {
			b := open(t)
			s := &keySuite{contract.Case{T: t, Entries: b.Entries}, b}
			for _, w := range []name.Workload{{Pool: "default", Name: "doc"}, {Pool: "default", Name: "mail"}, {Pool: "other", Name: "doc"}} {
				s.Must(s.deploy(w, 1))
			}
			test(s)
		})
	}
}

type keySuite struct {
	contract.Case
	KeyBackend
}

func (s *keySuite) deploy(w name.Workload, version int64) error {
	a := agent.Agent{Pool: w.Pool, Name: w.Name, Directory: "/srv", Version: version, Desired: agent.Running, CreatedAt: contract.Start, UpdatedAt: contract.Start}
	return s.Agents.PutAgent(s.Ctx(), s.Permit(agent.ActionPut, agent.Resource(w.Pool, w.Name)), a)
}

func newKey(pool, agentName, keyName string) agent.Key {
	return agent.Key{
		ID: name.NewID("agk"), Pool: pool, Agent: agentName, Name: keyName, Hash: agent.HashKey(secret.FromString(name.NewToken(agent.KeyPrefix))),
		CreatedAt: contract.Start, ExpiresAt: contract.Start.Add(time.Hour),
	}
}

func (s *keySuite) add(k agent.Key) error {
	return s.AddKey(s.Ctx(), s.Permit(agent.ActionCreateKey, k.Resource()), k)
}

// kept is a key as a store returns it.
func kept(k agent.Key) agent.Key {
	k.CreatedAt, k.ExpiresAt = contract.Kept(k.CreatedAt), contract.Kept(k.ExpiresAt)
	return k
}

func (s *keySuite) are(pool, agentName string, want ...agent.Key) {
	s.T.Helper()
	got, err := s.Keys(s.Ctx(), pool, agentName)
	s.Must(err)
	for i := range want {
		want[i] = kept(want[i])
	}
	s.Same("keys of "+pool+"/"+agentName, got, want)
}

func (s *keySuite) keep() {
	second, first := newKey("default", "doc", "nightly"), newKey("default", "doc", "front")
	first.User = name.User{Issuer: "https://id.example/userpool/people", Subject: "usr_张"}
	elsewhere, abroad := newKey("default", "mail", "front"), newKey("other", "doc", "front")
	for _, k := range []agent.Key{second, first, elsewhere, abroad} {
		s.Must(s.add(k))
		got, err := s.Key(s.Ctx(), k.Hash)
		s.Must(err)
		s.Same("by hash", got, kept(k))
	}
	s.are("default", "doc", first, second)
	s.are("default", "mail", elsewhere)
	s.are("other", "doc", abroad)
	s.are("other", "mail")
	s.Code(s.add(newKey("default", "doc", "front")), "agent-key_exists")
	s.Code(s.add(newKey("default", "nobody", "front")), "agent_not_found")
	_, err := s.Key(s.Ctx(), secret.Hash{})
	s.Code(err, "agent-key_not_found")

	remove := func(k agent.Key, pool, agentName string) error {
		return s.DeleteKey(s.Ctx(), s.Permit(agent.ActionDeleteKey, agent.KeyResource(pool, k.ID)), pool, agentName, k.ID)
	}
	s.Code(remove(first, "default", "mail"), "agent-key_not_found")
	s.Code(remove(first, "other", "doc"), "agent-key_not_found")
	s.Must(remove(first, "default", "doc"))
	s.Code(remove(first, "default", "doc"), "agent-key_not_found")
	_, err = s.Key(s.Ctx(), first.Hash)
	s.Code(err, "agent-key_not_found")
	s.are("default", "doc", second)
	s.Must(s.add(newKey("default", "doc", "front"))) // the name is free
}

func (s *keySuite) permits() {
	k := newKey("default", "doc", "front")
	s.Permits(
		contract.Write{Action: agent.ActionCreateKey, Resource: k.Resource(), Do: func(p guard.Permit) error { return s.AddKey(s.Ctx(), p, k) }},
		contract.Write{Action: agent.ActionDeleteKey, Resource: k.Resource(), Do: func(p guard.Permit) error { return s.DeleteKey(s.Ctx(), p, k.Pool, k.Agent, k.ID) }},
	)
}

func (s *keySuite) full() {
	for i := range agent.MaxKeys {
		s.Must(s.add(newKey("default", "doc", fmt.Sprintf("key-%d", i))))
	}
	s.Code(s.add(newKey("default", "doc", "more")), "agent_keys_full")
	s.Must(s.add(newKey("default", "mail", "more")))
}

func (s *keySuite) agentGoes() {
	w := name.Workload{Pool: "default", Name: "doc"}
	k, other := newKey(w.Pool, w.Name, "front"), newKey("default", "mail", "front")
	s.Must(s.add(k))
	s.Must(s.add(other))
	s.Must(s.deploy(w, 2)) // another version keeps them
	s.are(w.Pool, w.Name, k)
	s.Must(s.Agents.DeleteAgent(s.Ctx(), s.Permit(agent.ActionDelete, agent.Resource(w.Pool, w.Name)), w.Pool, w.Name))
	_, err := s.Key(s.Ctx(), k.Hash)
	s.Code(err, "agent-key_not_found")
	s.Must(s.deploy(w, 1)) // a namesake inherits none
	s.are(w.Pool, w.Name)
	s.are("default", "mail", other)
}

func (s *keySuite) races() {
	s.Same("winners", s.Race("agent-key_exists", func(int) error { return s.add(newKey("default", "doc", "front")) }), 1)
}
