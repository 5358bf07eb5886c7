package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// auditCommand is deputy audit.
type auditCommand struct {
	List   auditList   `cmd:"" help:"Show the last entries, and with --follow every new one."`
	Verify auditVerify `cmd:"" help:"Check the hash chain."`
}

// remote says which Deputy to ask, and as whom.
type remote struct {
	URL       string `help:"The identity service, ${default} by default." default:"http://localhost:8080" env:"DEPUTY_URL" placeholder:"URL"`
	Data      string `help:"Data directory, for its operator.token; ${default} by default." default:"deputy-data" env:"DEPUTY_DATA" placeholder:"DIR"`
	TokenFile string `help:"File with an operator's token; without it operator.token in the data directory." env:"DEPUTY_TOKEN_FILE" placeholder:"FILE"`
}

func (r remote) client() (*apiclient.Client, error) {
	path := r.TokenFile
	if path == "" {
		path = filepath.Join(r.Data, "operator.token")
	}
	token, err := apiclient.ReadToken(path)
	if err != nil {
		return nil, err
	}
	return apiclient.New(apiclient.Config{URL: r.URL, Token: token})
}

// auditList is deputy audit list.
type auditList struct {
	remote
	Limit    int    `help:"How many entries, at most 1000." default:"20" short:"n"`
	Follow   bool   `help:"Go on with every new entry." short:"f"`
	Action   string `help:"Only this action, such as credential.release."`
	Outcome  string `help:"Only this outcome: allowed, refused or failed." enum:"allowed,refused,failed," default:"" placeholder:"OUTCOME"`
	Provider string `help:"Only this credential provider."`
	Workload string `help:"Only this caller, as pool/name."`
	Subject  string `help:"Only for the user with this subject."`
}

// Run implements kong's command.
func (l auditList) Run(ctx context.Context, o output) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	f := audit.Filter{Limit: l.Limit, Newest: true, Action: l.Action, Outcome: audit.Outcome(l.Outcome), Provider: l.Provider, Workload: l.Workload, Subject: l.Subject}
	records, err := client.Audit(ctx, f)
	if err != nil {
		return err
	}
	t := table{o: o, w: tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)}
	for _, r := range records {
		if err := t.add(r); err != nil {
			return err
		}
		f.After = r.Seq
	}
	if err := t.w.Flush(); err != nil || !l.Follow {
		return err
	}
	err = client.FollowAudit(ctx, f, func(r apiclient.Record) error {
		if err := t.add(r); err != nil {
			return err
		}
		return t.w.Flush()
	})
	if errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how one stops to follow
	}
	return err
}

// table prints records one by one.
type table struct {
	o output
	w *tabwriter.Writer
}

func (t table) add(r apiclient.Record) error {
	return t.o.print(r, func(io.Writer) error {
		e := r.Entry
		what := strings.TrimSuffix(e.Resource.Kind+" "+e.Resource.ID, " ")
		if e.Provider != "" {
			what = e.Provider + " [" + strings.Join(e.Scopes, " ") + "]"
		}
		reason := ""
		if e.Outcome != audit.Allowed {
			reason = "\t" + e.Reason
		}
		_, err := fmt.Fprintf(t.w, "%d\t%s\t%s\t%s\t%s\t%s%s\n", r.Seq, e.Time.Local().Format("01-02 15:04:05.000"), e.Outcome, e.Action, caller(e.Caller), what, reason)
		return err
	})
}

// caller is who it was, short enough for a table: of an issuer only its end.
func caller(c name.Caller) string {
	if i := strings.LastIndexByte(c.User.Issuer, '/'); i >= 0 {
		c.User.Issuer = c.User.Issuer[i+1:]
	}
	return c.String()
}

// auditVerify is deputy audit verify.
type auditVerify struct{ remote }

// Run implements kong's command.
func (v auditVerify) Run(ctx context.Context, o output) error {
	client, err := v.client()
	if err != nil {
		return err
	}
	chain, err := client.VerifyAudit(ctx)
	if err != nil {
		return err
	}
	if err := o.print(chain, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d entries hold; hash %s\n", chain.Records, chain.Hash)
		return err
	}); err != nil {
		return err
	}
	if !chain.OK {
		return fault.New(fault.Conflict, "audit_chain_broken", "the audit log was altered: it breaks at entry %d", chain.Broken).
			WithFix("compare with a backup; what follows that entry cannot be trusted")
	}
	return nil
}
