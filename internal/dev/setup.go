package dev

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/spool"
	"github.com/deputy-id/deputy/internal/wire"
)

// What a Deputy for development has.
const (
	userPool     = "dev"
	workloadPool = name.DefaultPool
	clientName   = "talk"
	keyName      = "dev"
	keyLife      = 90 * 24 * time.Hour
	maxPasswords = 64 << 10
)

// userNames are the users who may log in: two, for what one must not see of the
// other.
func userNames() []string { return []string{"alice", "bob"} }

// world is what there is to develop with.
type world struct {
	pool      apiclient.UserPool
	passwords map[string]string // by user name
	agent     apiclient.Agent
	keys      map[string]string // by user name: the file with the key that calls the agent for him
}

// setup makes what is missing and leaves what is there.
func (d *dev) setup(ctx context.Context) (w world, err error) {
	if w.pool, err = d.userPool(ctx); err != nil {
		return w, err
	}
	subjects, err := d.users(ctx, &w)
	if err != nil {
		return w, err
	}
	client, err := d.talkClient(ctx)
	if err != nil {
		return w, err
	}
	definition, err := d.define(w.pool.DiscoveryURL, client)
	if err != nil {
		return w, err
	}
	if w.agent, err = d.api.LaunchAgent(ctx, workloadPool, d.Dir, string(definition)); err != nil {
		return w, err
	}
	return w, d.agentKeys(ctx, &w, subjects)
}

func (d *dev) userPool(ctx context.Context) (apiclient.UserPool, error) {
	pool, err := d.api.UserPool(ctx, userPool)
	if fault.Is(err, fault.NotFound) {
		return d.api.CreateUserPool(ctx, userPool, "Development", nil)
	}
	return pool, err
}

// users makes the users and returns their subjects. Their passwords are in
// DATA/passwords.json: whoever reads it has the data, too.
func (d *dev) users(ctx context.Context, w *world) (subjects map[string]string, err error) {
	path := filepath.Join(d.Data, "passwords.json")
	if w.passwords, err = readPasswords(path); err != nil {
		return nil, err
	}
	subjects = map[string]string{}
	for u, err := range d.api.Users(ctx, userPool) {
		if err != nil {
			return nil, err
		}
		subjects[u.UserName] = u.ID
	}
	for _, user := range userNames() {
		if w.passwords[user] == "" {
			w.passwords[user] = strings.ToLower(rand.Text())
			b, err := json.MarshalIndent(w.passwords, "", "  ")
			if err != nil {
				return nil, err
			}
			if err := spool.Replace(path, append(b, '\n')); err != nil {
				return nil, unwritable(err)
			}
			if id := subjects[user]; id != "" { // the file was lost
				if err := d.api.SetPassword(ctx, userPool, id, secret.FromString(w.passwords[user]), false); err != nil {
					return nil, err
				}
			}
		}
		if subjects[user] != "" {
			continue
		}
		made, err := d.api.CreateUser(ctx, userPool, apiclient.NewUser{UserName: user, Email: user + "@example.com", Password: secret.FromString(w.passwords[user])})
		if err != nil {
			return nil, err
		}
		subjects[user] = made.ID
	}
	return subjects, nil
}

func readPasswords(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, unwritable(err)
	}
	defer func() { _ = f.Close() }() // only read
	var passwords map[string]string
	if err := wire.Decode(f, maxPasswords, &passwords); err != nil || passwords == nil {
		return nil, fault.Wrap(err, fault.Invalid, "dev_passwords_malformed", "the users' passwords cannot be read").WithSource(path).WithFix("delete the file: the users get new ones")
	}
	return passwords, nil
}

func unwritable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "data_unwritable", "the data directory cannot be read or written").WithSource("--data").WithFix("check its owner, its rights and the free space")
}

// talkClient returns the client through which people log in to talk to the agent,
// on its own page.
func (d *dev) talkClient(ctx context.Context) (id string, err error) {
	redirect := d.ingressURL() + "/agents/" + workloadPool + "/" + d.name + "/callback"
	all, err := d.api.OAuthClients(ctx, userPool)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(c apiclient.OAuthClient) bool { return c.Name == clientName })
	switch {
	case i < 0:
		made, _, err := d.api.CreateOAuthClient(ctx, userPool, apiclient.ClientSettings{
			Name: clientName, Type: "public", RedirectURIs: []string{redirect}, Scopes: []string{"openid", "profile", "email"},
		})
		return made.ID, err
	case !slices.Contains(all[i].RedirectURIs, redirect): // another agent, or another port
		_, _, err := d.api.ChangeOAuthClient(ctx, userPool, all[i].ID, apiclient.ClientSettings{RedirectURIs: []string{redirect}})
		return all[i].ID, err
	default:
		return all[i].ID, nil
	}
}

// agentKeys makes a key for each user, with which programs call the agent for him,
// and puts it into a file. Those of the run before end.
func (d *dev) agentKeys(ctx context.Context, w *world, subjects map[string]string) error {
	old, err := d.api.AgentKeys(ctx, workloadPool, d.name)
	if err != nil {
		return err
	}
	w.keys = map[string]string{}
	for _, user := range userNames() {
		called := keyName + "-" + user
		if i := slices.IndexFunc(old, func(k apiclient.AgentKey) bool { return k.Name == called }); i >= 0 {
			if err := d.api.RevokeAgentKey(ctx, workloadPool, d.name, old[i].ID); err != nil {
				return err
			}
		}
		made, err := d.api.CreateAgentKey(ctx, workloadPool, d.name, called, &apiclient.AgentFor{Issuer: w.pool.Issuer, Subject: subjects[user]}, time.Now().Add(keyLife))
		if err != nil {
			return err
		}
		w.keys[user] = filepath.Join(d.Data, user+".key")
		if err := spool.Replace(w.keys[user], []byte(made.Key+"\n")); err != nil {
			return unwritable(err)
		}
	}
	return nil
}
