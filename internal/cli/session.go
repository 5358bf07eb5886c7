package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// shortTime is a time as tables show it.
func shortTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

type userSessions struct{ oneUser }

// Run implements kong's command.
func (s userSessions) Run(ctx context.Context, o output) error {
	client, u, err := s.find(ctx)
	if err != nil {
		return err
	}
	all, err := client.Sessions(ctx, s.Pool, u.ID)
	if err != nil {
		return err
	}
	return o.print(all, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, v := range all {
			if _, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", v.ID, shortTime(v.AuthTime), v.Address, strings.Join(v.Methods, " "), v.Agent); err != nil {
				return err
			}
		}
		return t.Flush()
	})
}

type userEnd struct {
	oneUser
	Session string `help:"Id of the one session to end (ses_…). Without it all end." placeholder:"ID"`
}

// Run implements kong's command.
func (e userEnd) Run(ctx context.Context, o output) error {
	client, u, err := e.find(ctx)
	if err != nil {
		return err
	}
	ended := "all sessions"
	if e.Session == "" {
		err = client.EndSessions(ctx, e.Pool, u.ID)
	} else {
		ended = e.Session
		err = client.EndSession(ctx, e.Pool, u.ID, e.Session)
	}
	if err != nil {
		return err
	}
	return o.print(map[string]string{"ended": ended}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "ended %s of %s\n", ended, u.UserName)
		return err
	})
}

type userConsents struct{ oneUser }

// Run implements kong's command.
func (c userConsents) Run(ctx context.Context, o output) error {
	client, u, err := c.find(ctx)
	if err != nil {
		return err
	}
	all, err := client.Consents(ctx, c.Pool, u.ID)
	if err != nil {
		return err
	}
	return o.print(all, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, v := range all {
			if _, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", v.ClientName, v.ClientID, strings.Join(v.Scopes, " "), shortTime(v.GrantedAt)); err != nil {
				return err
			}
		}
		return t.Flush()
	})
}

type userRevoke struct {
	oneUser
	Client string `arg:"" help:"Id of the application (cli_…)."`
}

// Run implements kong's command.
func (r userRevoke) Run(ctx context.Context, o output) error {
	client, u, err := r.find(ctx)
	if err != nil {
		return err
	}
	if err := client.DeleteConsent(ctx, r.Pool, u.ID, r.Client); err != nil {
		return err
	}
	return o.print(map[string]string{"revoked": r.Client}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s has no access any more in the name of %s\n", r.Client, u.UserName)
		return err
	})
}
