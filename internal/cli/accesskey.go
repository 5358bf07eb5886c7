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

// accessKeyCommand is deputy access-key.
type accessKeyCommand struct {
	List   accessKeyList   `cmd:"" help:"List the access keys of a workload, and when they were used; never the secrets."`
	Create accessKeyCreate `cmd:"" help:"Create an access key; its secret is shown once."`
	Delete accessKeyDelete `cmd:"" help:"Delete an access key at once."`
}

// keysOf names the workload that keys are of.
type keysOf struct {
	inWorkloadPool
	Workload string `arg:"" help:"Name of the workload."`
}

type accessKeyList struct{ keysOf }

// Run implements kong's command.
func (l accessKeyList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	return printEach(o, each(api.AccessKeys(ctx, l.Pool, l.Workload)), func(k apiclient.AccessKey) []string {
		used := "never used"
		if !k.LastUsedAt.IsZero() {
			used = "used " + shortTime(k.LastUsedAt)
		}
		return []string{k.Name, "until " + shortTime(k.ExpiresAt), used, k.ID}
	})
}

type accessKeyCreate struct {
	keysOf
	Name    string `arg:"" help:"Who signs with it, in the audit log."`
	Days    int    `help:"For how many days it is good, at most 366; ${default} by default." default:"90" placeholder:"N"`
	EnvFile string `name:"env-file" help:"Write it into a new .env file, under the names that the clouds' clients know, and show no secret." placeholder:"FILE"`
}

// Run implements kong's command.
func (c accessKeyCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	file, err := newEnvFile(c.EnvFile)
	if err != nil {
		return err
	}
	defer file.abandon()
	made, err := api.CreateAccessKey(ctx, c.Pool, c.Workload, c.Name, time.Now().Add(time.Duration(c.Days)*24*time.Hour))
	if err != nil {
		return err
	}
	where := "Secret, shown this once: " + made.Secret
	if c.EnvFile != "" {
		err := file.write([][2]string{{"VOLCENGINE_ACCESS_KEY", made.ID}, {"VOLCENGINE_SECRET_KEY", made.Secret}, {"AWS_ACCESS_KEY_ID", made.ID}, {"AWS_SECRET_ACCESS_KEY", made.Secret}})
		if err != nil {
			return err
		}
		made.Secret, where = "", "The secret is in "+c.EnvFile+"."
	}
	return o.print(made, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s signs with %s until %s.\n%s\n", c.Workload, made.ID, shortTime(made.ExpiresAt), where)
		return err
	})
}

type accessKeyDelete struct {
	keysOf
	Key string `arg:"" help:"Name of the key, or its id (ak_…)."`
}

// Run implements kong's command.
func (d accessKeyDelete) Run(ctx context.Context, o output) error {
	api, err := d.client()
	if err != nil {
		return err
	}
	keys, err := api.AccessKeys(ctx, d.Pool, d.Workload)
	if err != nil {
		return err
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		if k.Name == d.Key || k.ID == d.Key {
			if err := api.DeleteAccessKey(ctx, d.Pool, d.Workload, k.ID); err != nil {
				return err
			}
			return o.print(map[string]string{"deleted": k.ID}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "deleted %s (%s)\n", k.Name, k.ID)
				return err
			})
		}
		names[i] = k.Name
	}
	return fault.New(fault.NotFound, "access-key_not_found", "%s has no access key %q", d.Workload, name.Clip(d.Key, 80)).WithFix("%s", name.DidYouMean(d.Key, names, "see: deputy access-key list "+d.Workload))
}
