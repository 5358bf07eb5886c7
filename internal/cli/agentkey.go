package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// agentKeyCommand is deputy agent-key.
type agentKeyCommand struct {
	List   agentKeyList   `cmd:"" help:"List an agent's keys; never the keys themselves."`
	Create agentKeyCreate `cmd:"" help:"Create a key; it is shown once."`
	Revoke agentKeyRevoke `cmd:"" help:"Revoke a key at once."`
}

// keysAgent names the agent that keys are for.
type keysAgent struct {
	inWorkloadPool
	Agent string `arg:"" help:"Name of the agent."`
}

type agentKeyList struct{ keysAgent }

// Run implements kong's command.
func (l agentKeyList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	return printEach(o, each(api.AgentKeys(ctx, l.Pool, l.Agent)), func(k apiclient.AgentKey) []string {
		calls := "for itself"
		if k.User != nil {
			calls = "for " + k.User.Subject + " of " + k.User.Issuer
		}
		return []string{k.Name, "until " + shortTime(k.ExpiresAt), calls, k.ID}
	})
}

type agentKeyCreate struct {
	keysAgent
	Name     string `arg:"" help:"Who calls with it, in the audit log."`
	User     string `help:"User for whom it calls: name or id in --user-pool, or subject at --issuer. It calls for nobody but itself without." placeholder:"USER"`
	UserPool string `name:"user-pool" help:"User pool of this Deputy that the user belongs to." placeholder:"NAME" xor:"where"`
	Issuer   string `help:"Issuer of a user from elsewhere." placeholder:"URL" xor:"where"`
	Days     int    `help:"For how many days it is good, at most 366; ${default} by default." default:"90" placeholder:"N"`
}

// Run implements kong's command.
func (c agentKeyCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	user, err := c.callsFor(ctx, api)
	if err != nil {
		return err
	}
	made, err := api.CreateAgentKey(ctx, c.Pool, c.Agent, c.Name, user, time.Now().Add(time.Duration(c.Days)*24*time.Hour))
	if err != nil {
		return err
	}
	return o.print(made, func(w io.Writer) error {
		if made.Warning != "" {
			_, _ = fmt.Fprintln(o.err, "warning: "+made.Warning) // there is nowhere else to say it
		}
		_, err := fmt.Fprintf(w, "Key, good until %s, shown this once: %s\n\nSend it as Authorization: Bearer <key>.\n", shortTime(made.ExpiresAt), made.Key)
		return err
	})
}

// callsFor finds the user for whom the key calls; nil is nobody.
func (c agentKeyCreate) callsFor(ctx context.Context, api *apiclient.Client) (*apiclient.AgentFor, error) {
	switch {
	case (c.User == "") != (c.UserPool == "" && c.Issuer == ""):
		return nil, fault.New(fault.Invalid, "agent-key_user", "a user is named by --user and either --user-pool or --issuer").WithSource("--user")
	case c.User == "":
		return nil, nil
	case c.Issuer != "":
		return &apiclient.AgentFor{Issuer: c.Issuer, Subject: c.User}, nil
	}
	pool, err := api.UserPool(ctx, c.UserPool)
	if err != nil {
		return nil, err
	}
	user, err := userNamed(ctx, api, c.UserPool, c.User)
	return &apiclient.AgentFor{Issuer: pool.Issuer, Subject: user.ID}, err
}

type agentKeyRevoke struct {
	keysAgent
	Key string `arg:"" help:"Name of the key, or its id (agk_…)."`
}

// Run implements kong's command.
func (r agentKeyRevoke) Run(ctx context.Context, o output) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	keys, err := api.AgentKeys(ctx, r.Pool, r.Agent)
	if err != nil {
		return err
	}
	var names []string
	for _, k := range keys {
		if k.Name == r.Key || k.ID == r.Key {
			if err := api.RevokeAgentKey(ctx, r.Pool, r.Agent, k.ID); err != nil {
				return err
			}
			return o.print(map[string]string{"revoked": k.ID}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "revoked %s (%s)\n", k.Name, k.ID)
				return err
			})
		}
		names = append(names, k.Name)
	}
	return fault.New(fault.NotFound, "agent-key_not_found", "the agent has no key %q", name.Clip(r.Key, 80)).
		WithFix("%s", name.DidYouMean(r.Key, names, "see: deputy agent-key list "+r.Agent))
}
