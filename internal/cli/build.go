package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
)

// buildCommand is deputy build.
type buildCommand struct{ agentFiles }

// Run implements kong's command.
func (b buildCommand) Run(ctx context.Context, o output) error {
	directory, d, err := b.read()
	if err != nil {
		return err
	}
	api, err := b.client()
	if err != nil {
		return err
	}
	told := phases{o, time.Now()}
	told.say("building %s from %s", d.Name, directory)
	made, err := api.BuildAgent(ctx, b.Pool, directory, string(d.text))
	if err != nil {
		return err
	}
	told.warn(made.Warnings, d)
	return o.print(made, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Built %d of %s (%v)\nRun it by: deputy deploy %s\n", made.Number, d.Name, time.Since(told.began).Round(10*time.Millisecond), d.Name)
		return err
	})
}

// deployCommand is deputy deploy.
type deployCommand struct {
	oneAgent
	Build   int64         `help:"Number of the build, as deputy versions shows it; the newest without it." placeholder:"N"`
	Timeout time.Duration `help:"How long the agent may take to come up; ${default} by default." default:"6m" placeholder:"TIME"`
}

// Run implements kong's command.
func (d deployCommand) Run(ctx context.Context, o output) error {
	return d.run(ctx, o, d.Build, false, d.Timeout, "Deployed")
}

// rollbackCommand is deputy rollback.
type rollbackCommand struct {
	oneAgent
	To      int64         `help:"Number of another build, as deputy versions shows it." placeholder:"N"`
	Timeout time.Duration `help:"How long the agent may take to come up; ${default} by default." default:"6m" placeholder:"TIME"`
}

// Run implements kong's command.
func (r rollbackCommand) Run(ctx context.Context, o output) error {
	return r.run(ctx, o, r.To, r.To == 0, r.Timeout, "Rolled back")
}

// run has the agent run a build that is kept, and waits until it does.
func (a oneAgent) run(ctx context.Context, o output, number int64, previous bool, timeout time.Duration, done string) error {
	api, agent, err := a.find()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	told := phases{o, time.Now()}
	running, err := api.RunBuild(ctx, a.Pool, agent, number, previous)
	if err != nil {
		return err
	}
	told.say("version %d of %s runs build %d", running.Version, agent, running.Build)
	return await(ctx, o, api, a.Pool, agent, fmt.Sprintf("%s to build %d", done, running.Build), told, nil)
}

// versionsCommand is deputy versions.
type versionsCommand struct{ oneAgent }

// Run implements kong's command.
func (v versionsCommand) Run(ctx context.Context, o output) error {
	api, agent, err := v.find()
	if err != nil {
		return err
	}
	builds, err := api.Builds(ctx, v.Pool, agent)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, b := range builds {
		if err := o.print(b, func(io.Writer) error { return writeBuild(t, b) }); err != nil {
			return err
		}
	}
	return t.Flush()
}

func writeBuild(w io.Writer, b apiclient.Build) error {
	mark := ""
	if b.Running {
		mark = "runs"
	}
	_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", b.Number, shortTime(b.CreatedAt), b.EntryPoint, b.Directory, mark)
	return err
}
