package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// attestorCommand is deputy attestor.
type attestorCommand struct {
	List   attestorList   `cmd:"" help:"List who vouches for a pool's workloads."`
	Show   attestorShow   `cmd:"" help:"Show an attestor, and which subjects are which workloads."`
	Create attestorCreate `cmd:"" help:"Have a cluster or a SPIFFE trust domain vouch for workloads. It is asked for its keys first."`
	Update attestorUpdate `cmd:"" help:"Change an attestor; what is not named stays."`
	Delete attestorDelete `cmd:"" help:"Delete an attestor: whom it vouched for gets no tokens any more."`
}

// oneAttestor names an attestor.
type oneAttestor struct {
	inWorkloadPool
	Name string `arg:"" help:"Name of the attestor."`
}

// attestorFlags are the settings of an attestor.
type attestorFlags struct {
	Issuer        string   `help:"Issuer of the cluster's tokens, as in kubectl get --raw /.well-known/openid-configuration; or spiffe:// and the name of a trust domain." placeholder:"URL"`
	Rule          []string `help:"Which subject is which workload: namespace/serviceaccount=workload, or the path of a SPIFFE ID. * stands for one part. May be repeated; they replace those before." placeholder:"SUBJECT=WORKLOAD"`
	Audience      *string  `help:"What proofs must be for, and nothing else; Deputy's public URL by default." placeholder:"NAME"`
	KeysURL       *string  `name:"keys-url" help:"Where a JWK set with the keys is; without it, the issuer's discovery document tells." placeholder:"URL"`
	BundleURL     *string  `name:"bundle-url" help:"Where the trust bundle of a SPIFFE trust domain is." placeholder:"URL"`
	Server        *string  `help:"The cluster's API server, which has the keys, and is asked to review each token." placeholder:"URL"`
	AuthorityFile string   `name:"authority-file" help:"Certificate authority of whoever is asked, in PEM; those of the system by default." placeholder:"FILE"`
	ReviewerFile  string   `name:"reviewer-token-file" help:"Token with which the API server is asked, of an account with the cluster role system:auth-delegator; - is standard input." placeholder:"FILE"`
}

// apply puts what was named into s, and returns the reviewer's token.
func (f attestorFlags) apply(s *apiclient.AttestorSettings) (reviewer secret.Text, err error) {
	if f.Issuer != "" {
		s.Issuer = f.Issuer
	}
	for _, set := range []struct{ from, to *string }{{f.Audience, &s.Audience}, {f.KeysURL, &s.KeysURL}, {f.BundleURL, &s.BundleURL}, {f.Server, &s.Server}} {
		if set.from != nil {
			*set.to = *set.from
		}
	}
	if len(f.Rule) > 0 {
		s.Rules = nil
	}
	for _, rule := range f.Rule {
		subject, workload, ok := strings.Cut(rule, "=")
		if !ok {
			return reviewer, fault.New(fault.Invalid, "rule_invalid", "%q does not say which workload it is", rule).WithSource("--rule").WithFix("write for instance agents/doc-agent=doc-agent")
		}
		s.Rules = append(s.Rules, apiclient.AttestorRule{Subject: subject, Workload: workload})
	}
	if f.AuthorityFile != "" {
		if s.Authority, err = readAuthority(f.AuthorityFile); err != nil {
			return reviewer, err
		}
	}
	if f.ReviewerFile != "" {
		return readSecret(f.ReviewerFile, "--reviewer-token-file")
	}
	return reviewer, nil
}

// maxAuthorityFile bounds a file with certificates, in bytes.
const maxAuthorityFile = 64 << 10

func readAuthority(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fault.Wrap(err, fault.Invalid, "authority_unreadable", "the certificate authority cannot be read").WithSource("--authority-file")
	}
	defer func() { _ = f.Close() }() // only read
	b, err := wire.ReadAll(f, maxAuthorityFile)
	if err != nil {
		return "", fault.Wrap(err, fault.Invalid, "authority_unreadable", "the certificate authority cannot be read").WithSource("--authority-file")
	}
	return string(b), nil
}

// showAttestor prints the answer of a call.
func showAttestor(o output) func(apiclient.Attestor, error) error {
	return func(a apiclient.Attestor, err error) error {
		if err != nil {
			return err
		}
		return o.print(a, func(out io.Writer) error {
			authority := ""
			if a.Authority != "" {
				authority = "its own"
			}
			rows := [][2]string{
				{"name", a.Name}, {"kind", a.Kind}, {"issuer", a.Issuer}, {"proofs are for", a.Audience}, {"keys at", a.KeysURL}, {"bundle at", a.BundleURL}, {"reviewed by", a.Server},
				{"authority", authority}, {"changed", shortTime(a.UpdatedAt)},
			}
			for _, r := range a.Rules {
				rows = append(rows, [2]string{"rule", r.Subject + " is " + r.Workload})
			}
			t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
			for _, r := range rows {
				if r[1] == "" {
					continue
				}
				if _, err := fmt.Fprintf(t, "%s\t%s\n", r[0], r[1]); err != nil {
					return err
				}
			}
			return t.Flush()
		})
	}
}

type attestorList struct{ inWorkloadPool }

// Run implements kong's command.
func (l attestorList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	return printEach(o, each(api.Attestors(ctx, l.Pool)), func(a apiclient.Attestor) []string {
		rules := make([]string, len(a.Rules))
		for i, r := range a.Rules {
			rules[i] = r.Subject + "=" + r.Workload
		}
		return []string{a.Name, a.Kind, a.Issuer, strings.Join(rules, ", ")}
	})
}

type attestorShow struct{ oneAttestor }

// Run implements kong's command.
func (s attestorShow) Run(ctx context.Context, o output) error {
	api, err := s.client()
	if err != nil {
		return err
	}
	return showAttestor(o)(api.Attestor(ctx, s.Pool, s.Name))
}

type attestorCreate struct {
	oneAttestor
	Kind string `help:"kubernetes: a cluster, by the tokens that it projects into pods; spiffe: a trust domain, by JWT-SVIDs." required:"" enum:"kubernetes,spiffe" placeholder:"KIND"`
	attestorFlags
}

// Run implements kong's command.
func (c attestorCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	settings := apiclient.AttestorSettings{Kind: c.Kind, Rules: []apiclient.AttestorRule{}}
	reviewer, err := c.apply(&settings)
	if err != nil {
		return err
	}
	return showAttestor(o)(api.CreateAttestor(ctx, c.Pool, c.Name, settings, reviewer))
}

type attestorUpdate struct {
	oneAttestor
	attestorFlags
}

// Run implements kong's command.
func (u attestorUpdate) Run(ctx context.Context, o output) error {
	api, err := u.client()
	if err != nil {
		return err
	}
	now, err := api.Attestor(ctx, u.Pool, u.Name)
	if err != nil {
		return err
	}
	reviewer, err := u.apply(&now.AttestorSettings)
	if err != nil {
		return err
	}
	return showAttestor(o)(api.UpdateAttestor(ctx, u.Pool, u.Name, now.AttestorSettings, reviewer))
}

type attestorDelete struct{ oneAttestor }

// Run implements kong's command.
func (d attestorDelete) Run(ctx context.Context, o output) error {
	api, err := d.client()
	if err != nil {
		return err
	}
	if err := api.DeleteAttestor(ctx, d.Pool, d.Name); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": d.Name}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted %s: whom it vouched for gets no tokens any more\n", d.Name)
		return err
	})
}
