package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
)

// oneAgent names an agent: by its name, or by the definition in the directory
// that the command is run in.
type oneAgent struct {
	inWorkloadPool
	Agent string `arg:"" optional:"" help:"Name of the agent; without it that of the agentkit.yaml in this directory."`
}

func (a oneAgent) find() (*apiclient.Client, string, error) {
	agent := a.Agent
	if agent == "" {
		d, err := readDefinition(definitionFile, os.LookupEnv)
		if err != nil {
			return nil, "", err
		}
		agent = d.Name
	}
	api, err := a.client()
	return api, agent, err
}

func printAgent(o output, a apiclient.Agent) error {
	return o.print(a, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		serving := ""
		if a.Serving != 0 {
			serving = fmt.Sprintf("version %d, until this one is ready", a.Serving)
		}
		for _, r := range [][2]string{
			{"agent", a.Pool + "/" + a.Name}, {"workload", a.Workload}, {"version", fmt.Sprint(a.Version)}, {"build", fmt.Sprint(a.Build)}, {"desired", a.Desired}, {"state", a.State}, {"reason", a.Reason}, {"requests go to", serving},
			{"restarts", fmt.Sprint(a.Restarts)}, {"deployed", shortTime(a.UpdatedAt)}, {"lets in", strings.Join(a.Inbound, ", ")}, {"speaks", strings.Join(a.Protocols, ", ")}, {"Service endpoint", a.Endpoint},
		} {
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

// statusCommand is deputy status.
type statusCommand struct{ oneAgent }

// Run implements kong's command.
func (s statusCommand) Run(ctx context.Context, o output) error {
	api, agent, err := s.find()
	if err != nil {
		return err
	}
	a, err := api.Agent(ctx, s.Pool, agent)
	if err != nil {
		return err
	}
	return printAgent(o, a)
}

// listCommand is deputy list.
type listCommand struct{ inWorkloadPool }

// Run implements kong's command.
func (l listCommand) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	all, err := api.Agents(ctx, l.Pool)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, a := range all {
		if err := o.print(a, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\tversion %d\t%s\t%s\n", a.Name, a.Version, a.State, a.Endpoint)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

// startCommand is deputy start.
type startCommand struct{ oneAgent }

// Run implements kong's command.
func (s startCommand) Run(ctx context.Context, o output) error {
	api, agent, err := s.find()
	if err != nil {
		return err
	}
	if _, err := api.StartAgent(ctx, s.Pool, agent); err != nil {
		return err
	}
	a, err := api.AwaitAgent(ctx, s.Pool, agent, func(apiclient.Agent) {})
	if err != nil {
		return err
	}
	return printAgent(o, a)
}

// stopCommand is deputy stop.
type stopCommand struct{ oneAgent }

// Run implements kong's command.
func (s stopCommand) Run(ctx context.Context, o output) error {
	api, agent, err := s.find()
	if err != nil {
		return err
	}
	if _, err := api.StopAgent(ctx, s.Pool, agent); err != nil {
		return err
	}
	return o.print(map[string]string{"stopped": agent}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is being stopped; deputy start %s starts it again\n", agent, agent)
		return err
	})
}

// destroyCommand is deputy destroy.
type destroyCommand struct {
	inWorkloadPool
	// Never by the directory that one happens to be in.
	Agent string `arg:"" help:"Name of the agent."`
}

// Run implements kong's command.
func (d destroyCommand) Run(ctx context.Context, o output) error {
	api, err := d.client()
	if err != nil {
		return err
	}
	if err := api.DeleteAgent(ctx, d.Pool, d.Agent); err != nil {
		return err
	}
	return o.print(map[string]string{"destroyed": d.Agent}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is stopped and deleted; what users delegated to its workload stays until that is deleted\n", d.Agent)
		return err
	})
}
