package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
)

// logsCommand is deputy logs.
type logsCommand struct {
	oneAgent
	Lines  int           `help:"How many of the last lines, at most 1000; ${default} by default." default:"100" short:"n" placeholder:"N"`
	Follow bool          `help:"Go on with every new line." short:"f"`
	Since  time.Duration `help:"Only lines that are no older than this, such as 10m." placeholder:"DURATION"`
}

// Run implements kong's command.
func (l logsCommand) Run(ctx context.Context, o output) error {
	if l.Since < 0 {
		return fault.New(fault.Invalid, "since_invalid", "%v lies in the future", l.Since).WithSource("--since").WithFix("give how long ago, such as 10m")
	}
	api, agent, err := l.find()
	if err != nil {
		return err
	}
	show := l.shower(o, time.Now())
	if l.Follow {
		if err := api.FollowAgentLogs(ctx, l.Pool, agent, l.Lines, show); ctx.Err() == nil {
			return err
		}
		return nil // Ctrl-C is how one stops to follow
	}
	lines, err := api.AgentLogs(ctx, l.Pool, agent, l.Lines)
	for _, line := range lines {
		if err := show(line); err != nil {
			return err
		}
	}
	return err
}

// shower returns what shows a line, unless it is too old.
func (l logsCommand) shower(o output, now time.Time) func(line string) error {
	return func(line string) error {
		at, text, _ := strings.Cut(line, " ")
		when, err := time.Parse(time.RFC3339, at)
		if err == nil && l.Since > 0 && now.Sub(when) > l.Since {
			return nil
		}
		return o.print(map[string]string{"time": at, "line": text}, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, line)
			return err
		})
	}
}
