package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
)

// lastWords is how many lines of its log are shown of an agent that does not
// come up.
const lastWords = 15

// launchCommand is deputy launch.
type launchCommand struct {
	inWorkloadPool
	Dir  string `arg:"" optional:"" help:"Directory with the agent's files and its agentkit.yaml, on the machine of the runtime; this one by default." default:"."`
	File string `help:"Another definition than DIR/agentkit.yaml." placeholder:"FILE"`
	imageFlags
	Timeout time.Duration `help:"How long the agent may take to be built and to come up; ${default} by default." default:"6m" placeholder:"TIME"`
}

// Run implements kong's command.
func (l launchCommand) Run(ctx context.Context, o output) error {
	directory, err := filepath.Abs(l.Dir)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "agent_directory", "the directory %q cannot be found", l.Dir)
	}
	file := l.File
	if file == "" {
		file = filepath.Join(directory, definitionFile)
	}
	d, err := readDefinition(file, os.LookupEnv)
	if err != nil {
		return err
	}
	api, err := l.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	began := time.Now()
	told := phases{o, began}
	agent := apiclient.NewAgent{Directory: directory, Definition: string(d.text)}
	if agent.Image, err = l.image(ctx, told, directory, d); err != nil {
		return err
	}
	if l.DryRun {
		return l.showObjects(ctx, api, o, agent)
	}
	told.say("deploying %s from %s", d.Name, directory)
	deployed, err := api.DeployAgent(ctx, l.Pool, agent)
	if err != nil {
		return err
	}
	for _, w := range deployed.Warnings {
		told.say("warning: %s: %s", w.Field, w.Reason)
	}
	for _, from := range d.sources {
		told.say("environment from %s: %v", from.Source, from.Names)
	}
	for _, variable := range d.differ {
		told.say("warning: %s differs between the environment and .env, and the environment wins", variable)
	}
	ready, err := api.AwaitAgent(ctx, l.Pool, d.Name, func(a apiclient.Agent) { told.say("version %d is %s", a.Version, a.State) })
	if fault.HasCode(err, "agent_not_ready") {
		l.lastWords(ctx, api, d.Name, o)
	}
	if err != nil {
		return err
	}
	ready.Warnings = deployed.Warnings
	return o.print(ready, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Launch Successfully (version %d, %v)\nService endpoint: %s\n", ready.Version, time.Since(began).Round(10*time.Millisecond), ready.Endpoint)
		return err
	})
}

// lastWords shows what an agent that does not come up wrote last.
func (l launchCommand) lastWords(ctx context.Context, api *apiclient.Client, agent string, o output) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	lines, err := api.AgentLogs(ctx, l.Pool, agent, lastWords)
	if err != nil || o.json {
		return // why it does not come up is said anyway
	}
	for _, line := range lines {
		_, _ = fmt.Fprintln(o.err, "  | "+line) // there is nowhere else to say it
	}
}

// phases tells people what goes on; scripts are told the outcome alone.
type phases struct {
	output
	began time.Time
}

func (p phases) say(format string, args ...any) {
	if !p.json {
		_, _ = fmt.Fprintf(p.err, "%6.1fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...)) // there is nowhere else to say it
	}
}
