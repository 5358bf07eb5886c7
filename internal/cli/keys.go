package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
)

// keysCommand is deputy keys.
type keysCommand struct {
	List   keysList   `cmd:"" help:"List the data keys and how many records each seals."`
	Rotate keysRotate `cmd:"" help:"Give every pool a new data key and seal all records anew, while requests run."`
}

type keysList struct{ remote }

// Run implements kong's command.
func (l keysList) Run(ctx context.Context, o output) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	all, err := client.DataKeys(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, k := range all {
		if err := o.print(k, func(io.Writer) error { return printDataKey(t, k) }); err != nil {
			return err
		}
	}
	return t.Flush()
}

func printDataKey(w io.Writer, k apiclient.DataKey) error {
	state := "former"
	if k.Newest {
		state = "newest"
	}
	root := k.Root
	if k.Former {
		root += " (former root key)"
	}
	_, err := fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d records\t%s\n", k.Pool, k.Version, state, shortTime(k.CreatedAt), k.Records, root)
	return err
}

type keysRotate struct {
	remote
	Root bool `help:"Wrap the data keys with the root key that the service was started with instead; the former one is given to it too. After a new version of a key in Vault or Google Cloud KMS, wrap them with that."`
}

// Run implements kong's command.
func (r keysRotate) Run(ctx context.Context, o output) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	if r.Root {
		return r.rewrap(ctx, o, client)
	}
	if _, err := client.RotateDataKeys(ctx); err != nil {
		return err
	}
	for total := 0; ; {
		step, err := client.Reseal(ctx)
		if err != nil {
			return err
		}
		total += step.Resealed
		if err := o.print(map[string]int{"resealed": total, "remaining": step.Remaining}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "\r%d of %d records sealed anew", total, total+step.Remaining)
			return err
		}); err != nil {
			return err
		}
		if step.Resealed == 0 || step.Remaining == 0 {
			if err := o.end(); err != nil {
				return err
			}
			return o.broken(step.Broken)
		}
	}
}

func (r keysRotate) rewrap(ctx context.Context, o output, client *apiclient.Client) error {
	for total := 0; ; {
		done, left, err := client.Rewrap(ctx)
		if err != nil {
			return err
		}
		total += done
		if err := o.print(map[string]int{"rewrapped": total, "remaining": left}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "\r%d of %d data keys wrapped anew", total, total+left)
			return err
		}); err != nil {
			return err
		}
		if left == 0 {
			return o.end()
		}
	}
}

// broken names the records that do not open.
func (o output) broken(all []apiclient.BrokenRecord) error {
	for _, b := range all {
		if err := o.print(b, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "does not open: %s, row %s, pool %s\n", b.In, b.Record, b.Pool)
			return err
		}); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fault.New(fault.Conflict, "records_broken", "records do not open, and keep their pools' former data keys: %d", len(all)).
		WithFix("restore them from a backup, or delete what they belong to; see Keys in the operating guide")
}

// end ends a line that was written again and again for people.
func (o output) end() error {
	if o.json {
		return nil
	}
	_, err := fmt.Fprintln(o.out)
	return err
}
