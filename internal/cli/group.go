package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
)

// groupCommand is deputy group.
type groupCommand struct {
	List   groupList   `cmd:"" help:"List a pool's groups."`
	Show   groupShow   `cmd:"" help:"List a group's members."`
	Create groupCreate `cmd:"" help:"Create a group."`
	Delete groupDelete `cmd:"" help:"Delete a group; its members stay."`
	Add    groupAdd    `cmd:"" help:"Add users to a group."`
	Remove groupRemove `cmd:"" help:"Take users out of a group."`
}

// oneGroup names a group.
type oneGroup struct {
	inPool
	Group string `arg:"" help:"Name of the group."`
}

func (g oneGroup) find(ctx context.Context) (*apiclient.Client, apiclient.Group, error) {
	client, err := g.client()
	if err != nil {
		return nil, apiclient.Group{}, err
	}
	found, err := client.GroupByName(ctx, g.Pool, g.Group)
	return client, found, err
}

type groupList struct{ inPool }

// Run implements kong's command.
func (l groupList) Run(ctx context.Context, o output) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for g, err := range client.Groups(ctx, l.Pool) {
		if err != nil {
			return err
		}
		if err := o.print(g, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\n", g.Name, g.ID)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

type groupShow struct{ oneGroup }

// Run implements kong's command.
func (s groupShow) Run(ctx context.Context, o output) error {
	client, g, err := s.find(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for id, err := range client.Members(ctx, s.Pool, g.ID) {
		if err != nil {
			return err
		}
		u, err := client.User(ctx, s.Pool, id)
		if err != nil {
			return err
		}
		if err := o.print(u, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\n", u.UserName, u.DisplayName, u.ID)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

type groupCreate struct {
	inPool
	Name string `arg:"" help:"Name of the group: a claim of its members."`
}

// Run implements kong's command.
func (c groupCreate) Run(ctx context.Context, o output) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	g, err := client.CreateGroup(ctx, c.Pool, c.Name)
	if err != nil {
		return err
	}
	return o.print(g, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "created %s (%s)\n", g.Name, g.ID)
		return err
	})
}

type groupDelete struct{ oneGroup }

// Run implements kong's command.
func (d groupDelete) Run(ctx context.Context, o output) error {
	client, g, err := d.find(ctx)
	if err != nil {
		return err
	}
	if err := client.DeleteGroup(ctx, d.Pool, g.ID); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": g.ID}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted %s (%s)\n", g.Name, g.ID)
		return err
	})
}

// members names users of a group.
type members struct {
	oneGroup
	Users []string `arg:"" help:"User names, or ids (usr_…)."`
}

// change finds the users and puts their ids where in says.
func (m members) change(ctx context.Context, o output, what string, in func(ids []string) (add, remove []string)) error {
	client, g, err := m.find(ctx)
	if err != nil {
		return err
	}
	ids := make([]string, len(m.Users))
	for i, user := range m.Users {
		u, err := userNamed(ctx, client, m.Pool, user)
		if err != nil {
			return err
		}
		ids[i] = u.ID
	}
	add, remove := in(ids)
	if err := client.ChangeMembers(ctx, m.Pool, g.ID, add, remove); err != nil {
		return err
	}
	return o.print(map[string][]string{what: ids}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %s\n", what, strings.Join(m.Users, ", "))
		return err
	})
}

type groupAdd struct{ members }

// Run implements kong's command.
func (a groupAdd) Run(ctx context.Context, o output) error {
	return a.change(ctx, o, "added", func(ids []string) (add, remove []string) { return ids, nil })
}

type groupRemove struct{ members }

// Run implements kong's command.
func (r groupRemove) Run(ctx context.Context, o output) error {
	return r.change(ctx, o, "removed", func(ids []string) (add, remove []string) { return nil, ids })
}
