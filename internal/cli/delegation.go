package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/apiclient"
)

// delegationCommand is deputy delegation.
type delegationCommand struct {
	List   delegationList   `cmd:"" help:"List which workloads may use whose grants."`
	Revoke delegationRevoke `cmd:"" help:"Withdraw a grant from a workload; the grant ends when no other one may use it."`
}

type delegationList struct {
	inWorkloadPool
	heldBy
	Workload string `help:"Only to this workload." placeholder:"NAME"`
}

// Run implements kong's command.
func (l delegationList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	f := l.filter()
	f.Workload = l.Workload
	return printEach(o, api.Delegations(ctx, l.Pool, f), func(d apiclient.Delegation) []string {
		return []string{d.ID, d.Workload, d.Provider, d.User.Subject, d.State, strings.Join(d.Scopes, " ")}
	})
}

type delegationRevoke struct {
	inWorkloadPool
	Delegation string `arg:"" help:"Id of the delegation (dlg_…)."`
}

// Run implements kong's command.
func (r delegationRevoke) Run(ctx context.Context, o output) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	if err := api.DeleteDelegation(ctx, r.Pool, r.Delegation); err != nil {
		return err
	}
	return o.print(map[string]string{"revoked": r.Delegation}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is gone\n", r.Delegation)
		return err
	})
}

// revocationCommand is deputy revocation.
type revocationCommand struct {
	List revocationList `cmd:"" help:"List what is still to be revoked at third parties, and why it is not yet."`
}

type revocationList struct{ inWorkloadPool }

// Run implements kong's command.
func (l revocationList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	return printEach(o, api.Revocations(ctx, l.Pool), func(r apiclient.Revocation) []string {
		return []string{r.Grant, r.Provider, r.User.Subject, r.Cause, "failed " + strconv.FormatInt(r.Attempts, 10), "next " + shortTime(r.DueAt), r.LastError}
	})
}
