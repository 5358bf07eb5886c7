package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/wire"
)

// poolCommand is deputy pool.
type poolCommand struct {
	List   poolList   `cmd:"" help:"List the user pools."`
	Show   poolShow   `cmd:"" help:"Show a user pool and its settings."`
	Create poolCreate `cmd:"" help:"Make a user pool."`
	Set    poolSet    `cmd:"" help:"Change settings of a user pool."`
	Logo   poolLogo   `cmd:"" help:"Give a user pool's pages a logo: PNG, JPEG or WebP."`
	Keys   poolKeys   `cmd:"" help:"List a user pool's signing keys."`
	Rotate poolRotate `cmd:"" help:"Make the next signing key of a user pool."`
	Delete poolDelete `cmd:"" help:"Delete a user pool with its users, clients and keys."`
}

// poolList is deputy pool list.
type poolList struct{ remote }

// Run implements kong's command.
func (l poolList) Run(ctx context.Context, o output) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	pools, err := client.UserPools(ctx)
	if err != nil {
		return err
	}
	if o.json {
		for _, p := range pools {
			if err := o.print(p, nil); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, p := range pools {
		if _, err := fmt.Fprintf(t, "%s\t%s\t%s\n", p.Name, p.Issuer, p.DisplayName); err != nil {
			return err
		}
	}
	return t.Flush()
}

// poolShow is deputy pool show.
type poolShow struct {
	remote
	Name string `arg:"" help:"Of the pool."`
}

// Run implements kong's command.
func (s poolShow) Run(ctx context.Context, o output) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	pool, err := client.UserPool(ctx, s.Name)
	if err != nil {
		return err
	}
	return showPool(o, pool)
}

// showPool prints a pool: first what it is, then its settings as pool set takes
// them.
func showPool(o output, p apiclient.UserPool) error {
	return o.print(p, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		rows := [][2]string{{"name", p.Name}, {"displayName", p.DisplayName}, {"issuer", p.Issuer}, {"discovery", p.DiscoveryURL}, {"created", p.CreatedAt.Local().Format(time.DateTime)}}
		if p.LogoType != "" {
			rows = append(rows, [2]string{"logo", p.LogoType})
		}
		for _, key := range slices.Sorted(maps.Keys(p.Settings)) {
			value := fmt.Sprint(p.Settings[key])
			if n, ok := p.Settings[key].(float64); ok { // as JSON has numbers
				value = strconv.FormatFloat(n, 'f', -1, 64)
			}
			if list, ok := p.Settings[key].([]any); ok {
				b, err := json.Marshal(list)
				if err != nil {
					return err
				}
				value = string(b)
			}
			if on, _ := p.Settings[key].(bool); on && !p.Mail && (key == "signUp" || key == "recovery") {
				value += "\t(off until `deputy serve` has --smtp-url)"
			}
			rows = append(rows, [2]string{key, value})
		}
		for _, r := range rows {
			if r[1] == "" {
				r[1] = "-"
			}
			if _, err := fmt.Fprintf(t, "%s\t%s\n", r[0], r[1]); err != nil {
				return err
			}
		}
		return t.Flush()
	})
}

// poolCreate is deputy pool create.
type poolCreate struct {
	remote
	Name     string   `arg:"" help:"Of the pool; part of its issuer, so it never changes."`
	Settings []string `arg:"" optional:"" help:"As for pool set." placeholder:"KEY=VALUE"`
}

// Run implements kong's command.
func (c poolCreate) Run(ctx context.Context, o output) error {
	displayName, settings, err := parseSettings(c.Settings)
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	if displayName == nil {
		displayName = new(string)
	}
	pool, err := client.CreateUserPool(ctx, c.Name, *displayName, settings)
	if err != nil {
		return err
	}
	return showPool(o, pool)
}

// poolSet is deputy pool set.
type poolSet struct {
	remote
	Name     string   `arg:"" help:"Of the pool."`
	Settings []string `arg:"" help:"displayName, or a setting as pool show has it: signUp=true, color=#0b6e4f, keyLifetime=720h." placeholder:"KEY=VALUE"`
}

// Run implements kong's command.
func (s poolSet) Run(ctx context.Context, o output) error {
	displayName, settings, err := parseSettings(s.Settings)
	if err != nil {
		return err
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	pool, err := client.UpdateUserPool(ctx, s.Name, displayName, settings)
	if err != nil {
		return err
	}
	return showPool(o, pool)
}

// parseSettings reads KEY=VALUE. Which keys there are, and what they may be, the
// server knows.
func parseSettings(args []string) (displayName *string, settings map[string]any, err error) {
	settings = map[string]any{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		_, twice := settings[key]
		if !ok || key == "" || twice {
			return nil, nil, fault.New(fault.Invalid, "setting_invalid", "%q is not one setting", name.Clip(arg, 80)).WithFix("write each as KEY=VALUE, once")
		}
		if key == "displayName" {
			displayName = &value
			continue
		}
		settings[key] = settingValue(value)
	}
	return displayName, settings, nil
}

// settingValue is a text as JSON has it: true, a number, a list in brackets, or a
// text. A duration is a number of seconds.
func settingValue(s string) any {
	var list []string
	if strings.HasPrefix(s, "[") && json.Unmarshal([]byte(s), &list) == nil {
		return list
	}
	if s == "true" || s == "false" {
		return s == "true"
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	if d, err := time.ParseDuration(s); err == nil {
		return int64(d / time.Second)
	}
	return s
}

// poolLogo is deputy pool logo.
type poolLogo struct {
	remote
	Name   string `arg:"" help:"Of the pool."`
	File   string `arg:"" optional:"" help:"The image; at most 128 KiB."`
	Remove bool   `help:"Show Deputy's logo again."`
}

// maxLogo is more than the server takes, so that it is the server that says so.
const maxLogo = 1 << 20

// Run implements kong's command.
func (l poolLogo) Run(ctx context.Context, o output) error {
	if (l.File == "") != l.Remove {
		return fault.New(fault.Invalid, "logo_missing", "there is nothing to do").WithFix("name a file, or give --remove")
	}
	client, err := l.client()
	if err != nil {
		return err
	}
	var image []byte
	if !l.Remove {
		f, err := os.Open(l.File)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "logo_unreadable", "the logo cannot be read").WithSource(l.File)
		}
		defer f.Close() // only read
		if image, err = wire.ReadAll(f, maxLogo); err != nil {
			return fault.Wrap(err, fault.Invalid, "logo_unreadable", "the logo cannot be read, or is too large").WithSource(l.File)
		}
	}
	pool, err := client.SetLogo(ctx, l.Name, image)
	if err != nil {
		return err
	}
	return showPool(o, pool)
}

// poolKeys is deputy pool keys.
type poolKeys struct {
	remote
	Name string `arg:"" help:"Of the pool."`
}

// Run implements kong's command.
func (k poolKeys) Run(ctx context.Context, o output) error {
	client, err := k.client()
	if err != nil {
		return err
	}
	keys, err := client.SigningKeys(ctx, k.Name)
	if err != nil {
		return err
	}
	return showKeys(o, keys...)
}

// poolRotate is deputy pool rotate.
type poolRotate struct {
	remote
	Name      string `arg:"" help:"Of the pool."`
	Algorithm string `help:"ES256, EdDSA or RS256; the pool's by default." placeholder:"ALG"`
}

// Run implements kong's command.
func (r poolRotate) Run(ctx context.Context, o output) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	key, err := client.RotateSigningKey(ctx, r.Name, r.Algorithm)
	if err != nil {
		return err
	}
	return showKeys(o, key)
}

func showKeys(o output, keys ...apiclient.SigningKey) error {
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, k := range keys {
		if err := o.print(k, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\tsince %s\n", k.ID, k.Algorithm, k.State, k.SignsFrom.Local().Format(time.DateTime))
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

// poolDelete is deputy pool delete.
type poolDelete struct {
	remote
	Name    string `arg:"" help:"Of the pool."`
	Confirm string `help:"The name again: everybody in the pool is gone with it." placeholder:"NAME"`
}

// Run implements kong's command.
func (d poolDelete) Run(ctx context.Context, o output) error {
	if d.Confirm != d.Name {
		return fault.New(fault.Invalid, "confirmation_missing", "deleting a user pool deletes its users, clients and keys").
			WithSource("--confirm").WithFix("if that is meant, add --confirm %s", name.Clip(d.Name, 80))
	}
	client, err := d.client()
	if err != nil {
		return err
	}
	if err := client.DeleteUserPool(ctx, d.Name); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": d.Name}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "user pool %s is deleted\n", d.Name)
		return err
	})
}
