package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/doctor"
	"github.com/deputy-id/deputy/internal/secret"
)

// doctorCommand is deputy doctor. It has the settings of deputy serve, so that it
// sees what that would see in the same place.
type doctorCommand struct {
	URL         string `help:"The identity service, ${default} by default." default:"http://localhost:8080" env:"DEPUTY_URL" placeholder:"URL"`
	TokenFile   string `help:"File with an operator's token; without it operator.token in the data directory." env:"DEPUTY_TOKEN_FILE" placeholder:"FILE"`
	RedirectURI string `name:"redirect-uri" help:"Find out which client has this redirect URI." placeholder:"URL"`
	serveSettings
}

// Run implements kong's command.
func (d doctorCommand) Run(ctx context.Context, k *kong.Context, o output) error {
	problems, area := 0, ""
	tell := func(f doctor.Finding) error {
		if f.State == doctor.Problem {
			problems++
		}
		return o.print(f, func(w io.Writer) error {
			if f.Area != area {
				area = f.Area
				if _, err := fmt.Fprintf(w, "%s\n", strings.ToUpper(area[:1])+area[1:]); err != nil {
					return err
				}
			}
			return printFinding(w, f)
		})
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := doctor.Settings(ctx, settingsOf(k), dir, os.LookupEnv, tell); err != nil {
		return err
	}
	if err := d.files().Examine(ctx, tell); err != nil {
		return err
	}
	api, err := remote{URL: d.URL, Data: d.Data, TokenFile: d.TokenFile}.client()
	if err != nil {
		return err
	}
	if err := d.service(api).Examine(ctx, tell); err != nil {
		return err
	}
	return doctor.Failed(problems)
}

func (d doctorCommand) files() doctor.Files {
	_, rootKey := os.LookupEnv(rootKeyVariable)
	return doctor.Files{Data: d.Data, RootKeyFile: d.RootKeyFile, RootKeySet: rootKey, RootKMS: d.RootKMS, VaultToken: secret.FromString(os.Getenv(vaultTokenVariable))}
}

func (d doctorCommand) service(api *apiclient.Client) doctor.Service {
	return doctor.Service{URL: d.URL, API: api, RedirectURI: d.RedirectURI, Now: time.Now}
}

func printFinding(w io.Writer, f doctor.Finding) error {
	mark := map[doctor.State]string{doctor.Fine: "✓", doctor.Note: "·", doctor.Warning: "!", doctor.Problem: "✗"}[f.State]
	text := "  " + mark + " " + f.Text + "\n"
	if f.Fix == "" && f.Source != "" { // little is said: on one line
		text = "  " + mark + " " + f.Text + " (" + f.Source + ")\n"
	} else if f.Source != "" {
		text += "      from: " + f.Source + "\n"
	}
	if f.Fix != "" {
		text += "      fix:  " + f.Fix + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// settingsOf returns the settings of the command line k, and where each comes
// from.
func settingsOf(k *kong.Context) []doctor.Setting {
	var list []doctor.Setting
	for _, f := range k.Flags() {
		if f.Group != nil || len(f.Envs) == 0 {
			continue
		}
		s := doctor.Setting{Name: "--" + f.Name, Variable: f.Envs[0], Value: fmt.Sprint(k.FlagValue(f)), Source: "default"}
		if _, ok := os.LookupEnv(s.Variable); ok {
			s.Source = "environment, " + s.Variable
		}
		if slices.ContainsFunc(k.Path, func(p *kong.Path) bool { return p.Flag == f }) {
			s.Source = "flag"
		}
		if s.Value == "[]" {
			s.Value = ""
		}
		if s.Value != "" && (f.Name == "database" || f.Name == "smtp-url") { // they may have a password in them
			s.Value = "set"
		}
		list = append(list, s)
	}
	return list
}
