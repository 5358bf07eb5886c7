package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
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
	_, err := fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d records\t%s\n", k.Pool, k.Version, state, shortTime(k.CreatedAt), k.Records, k.Root)
	return err
}

type keysRotate struct {
	remote
	Root bool `help:"Wrap the data keys with the root key that the service was started with instead; the former one is given by --former-root-key-file."`
}

// Run implements kong's command.
func (r keysRotate) Run(ctx context.Context, o output) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	if r.Root {
		done, err := client.Rewrap(ctx)
		if err != nil {
			return err
		}
		return o.print(map[string]int{"rewrapped": done}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%d data keys wrapped anew; the former root key opens this store no more\n", done)
			return err
		})
	}
	if _, err := client.RotateDataKeys(ctx); err != nil {
		return err
	}
	for total := 0; ; {
		resealed, remaining, err := client.Reseal(ctx)
		if err != nil {
			return err
		}
		total += resealed
		if err := o.print(map[string]int{"resealed": total, "remaining": remaining}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "\r%d of %d records sealed anew", total, total+remaining)
			return err
		}); err != nil {
			return err
		}
		if resealed == 0 || remaining == 0 {
			return o.end()
		}
	}
}

// end ends a line that was written again and again for people.
func (o output) end() error {
	if o.json {
		return nil
	}
	_, err := fmt.Fprintln(o.out)
	return err
}
