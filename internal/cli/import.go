package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/roster"
)

// userImport is deputy user import.
type userImport struct {
	inPool
	File   string `arg:"" help:"The file; - is standard input."`
	Format string `help:"csv or jsonl; without it, what the file's name ends with." enum:"csv,jsonl," default:"" placeholder:"FORMAT"`
	DryRun bool   `help:"Change nothing and tell what would be done." name:"dry-run"`
}

// media returns the media type of the file.
func (i userImport) media() (string, error) {
	format := i.Format
	if format == "" {
		format = strings.ToLower(strings.TrimPrefix(filepath.Ext(i.File), "."))
	}
	switch format {
	case "csv":
		return roster.CSV, nil
	case "jsonl", "ndjson":
		return roster.JSONLines, nil
	}
	return "", fault.New(fault.Invalid, "format_unknown", "the name of the file does not tell its format").WithSource(i.File).WithFix("add --format csv or --format jsonl")
}

// progressStep is after how many users a line of progress is written.
const progressStep = 100

// Run implements kong's command.
func (i userImport) Run(ctx context.Context, o output) error {
	client, err := i.client()
	if err != nil {
		return err
	}
	media, err := i.media()
	if err != nil {
		return err
	}
	in := io.Reader(os.Stdin)
	if i.File != "-" {
		f, err := os.Open(i.File)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "file_unreadable", "the file cannot be read").WithSource(i.File)
		}
		defer f.Close() // only read
		in = f
	}
	seen := 0
	sum, err := client.ImportUsers(ctx, i.Pool, media, in, i.DryRun, func(l apiclient.ImportLine) error {
		if seen++; seen%progressStep == 0 {
			_, _ = fmt.Fprintf(o.err, "%d users …\n", seen) // only to pass the time
		}
		return i.show(o, l)
	})
	if err != nil {
		return err
	}
	would := ""
	if i.DryRun {
		would = "; nothing was changed"
	}
	if err := o.print(sum, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d created, %d updated, %d unchanged, %d refused%s\n", sum.Created, sum.Updated, sum.Unchanged, sum.Refused, would)
		return err
	}); err != nil {
		return err
	}
	if sum.Refused > 0 {
		return fault.New(fault.Invalid, "rows_refused", "%d users were refused", sum.Refused).WithFix("correct them and import the file again: the others stay as they are")
	}
	return nil
}

// show tells of a row; to people only where there is something to tell.
func (i userImport) show(o output, l apiclient.ImportLine) error {
	return o.print(l, func(w io.Writer) error {
		if l.Outcome != string(roster.Refused) && !i.DryRun {
			return nil
		}
		text := fmt.Sprintf("line %d: %s %s", l.Line, l.Outcome, l.UserName)
		if l.Detail != "" {
			text += ": " + l.Detail
		}
		if l.Fix != "" {
			text += "; " + l.Fix
		}
		_, err := fmt.Fprintln(w, strings.TrimRight(text, " "))
		return err
	})
}
