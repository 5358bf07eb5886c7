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

// agentFiles says where an agent's files are.
type agentFiles struct {
	inWorkloadPool
	Dir  string `arg:"" optional:"" help:"Directory with the agent's files and its agentkit.yaml, on the machine of the runtime; this one by default." default:"."`
	File string `help:"Another definition than DIR/agentkit.yaml." placeholder:"FILE"`
}

// read returns the directory and the definition of the agent.
func (f agentFiles) read() (directory string, d definition, err error) {
	directory, err = filepath.Abs(f.Dir)
	if err != nil {
		return "", d, fault.Wrap(err, fault.Invalid, "agent_directory", "the directory %q cannot be found", f.Dir)
	}
	file := f.File
	if file == "" {
		file = filepath.Join(directory, definitionFile)
	}
	d, err = readDefinition(file, os.LookupEnv)
	return directory, d, err
}

// launchCommand is deputy launch.
type launchCommand struct {
	agentFiles
	imageFlags
	Timeout time.Duration `help:"How long the agent may take to be built and to come up; ${default} by default." default:"6m" placeholder:"TIME"`
}

// Run implements kong's command.
func (l launchCommand) Run(ctx context.Context, o output) error {
	directory, d, err := l.read()
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
	told.warn(deployed.Warnings, d)
	return await(ctx, o, api, l.Pool, d.Name, "Launch Successfully", told, deployed.Warnings)
}

// await waits until an agent that was told to run is ready, and says so.
func await(ctx context.Context, o output, api *apiclient.Client, pool, agent, done string, told phases, warnings []apiclient.AgentWarning) error {
	ready, err := api.AwaitAgent(ctx, pool, agent, func(a apiclient.Agent) { told.say("version %d is %s", a.Version, a.State) })
	if fault.HasCode(err, "agent_not_ready") {
		showLastWords(ctx, api, pool, agent, o)
	}
	if err != nil {
		return err
	}
	ready.Warnings = warnings
	return o.print(ready, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s (version %d, %v)\nService endpoint: %s\n", done, ready.Version, time.Since(told.began).Round(10*time.Millisecond), ready.Endpoint)
		return err
	})
}

// showLastWords shows what an agent that does not come up wrote last.
func showLastWords(ctx context.Context, api *apiclient.Client, pool, agent string, o output) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	lines, err := api.AgentLogs(ctx, pool, agent, lastWords)
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

// warn tells what of a definition is not as its author may think.
func (p phases) warn(warnings []apiclient.AgentWarning, d definition) {
	for _, w := range warnings {
		p.say("warning: %s: %s", w.Field, w.Reason)
	}
	for _, from := range d.sources {
		p.say("environment from %s: %v", from.Source, from.Names)
	}
	for _, variable := range d.differ {
		p.say("warning: %s differs between the environment and .env, and the environment wins", variable)
	}
}
