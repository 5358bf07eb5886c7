// Package cli is the command line: one file per noun, flags and environment by one struct each.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/deputy-id/deputy/internal/fault"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// commands is the whole command line.
type commands struct {
	JSON bool `help:"Print JSON, for scripts, instead of text for people."`

	Serve      serveCommand      `cmd:"" help:"Run the identity service, and with --ingress-listen the runtime."`
	Demo       demoCommand       `cmd:"" help:"Start everything on this machine and show how it works."`
	Dev        devCommand        `cmd:"" help:"Run Deputy for an agent that you are writing, on this machine."`
	Sandbox    sandboxCommand    `cmd:"" help:"Run a small Feishu, GitHub, Google, Notion or Slack to try Deputy against."`
	Init       initCommand       `cmd:"" help:"Write the files of a new agent."`
	Config     configCommand     `cmd:"" help:"Show or change what an agent's agentkit.yaml says."`
	Launch     launchCommand     `cmd:"" help:"Build and start an agent from its agentkit.yaml, or its next version."`
	Build      buildCommand      `cmd:"" help:"Build an agent from its agentkit.yaml without running it."`
	Deploy     deployCommand     `cmd:"" help:"Run what was built last, or another build that is kept."`
	Versions   versionsCommand   `cmd:"" help:"List the builds of an agent that are kept."`
	Rollback   rollbackCommand   `cmd:"" help:"Run the build before the one that runs."`
	List       listCommand       `cmd:"" help:"List the agents."`
	Status     statusCommand     `cmd:"" help:"Show an agent and what it is doing."`
	Invoke     invokeCommand     `cmd:"" help:"Say something to an agent, as a user."`
	Logs       logsCommand       `cmd:"" help:"Show what an agent wrote."`
	Start      startCommand      `cmd:"" help:"Start an agent, or start it again."`
	Stop       stopCommand       `cmd:"" help:"Stop an agent."`
	Destroy    destroyCommand    `cmd:"" help:"Stop an agent and delete it."`
	AgentKey   agentKeyCommand   `cmd:"" name:"agent-key" help:"Keys with which programs call an agent."`
	Workload   workloadCommand   `cmd:"" help:"Workloads: identities of agents, whom they act for, and who calls them."`
	Attestor   attestorCommand   `cmd:"" help:"Clusters and SPIFFE trust domains that vouch for workloads which Deputy did not launch."`
	AccessKey  accessKeyCommand  `cmd:"" name:"access-key" help:"Access keys with which workloads sign requests, for clients of clouds."`
	Pool       poolCommand       `cmd:"" help:"User pools: settings, looks, signing keys."`
	User       userCommand       `cmd:"" help:"Users of a user pool."`
	Group      groupCommand      `cmd:"" help:"Groups of a user pool."`
	Client     clientCommand     `cmd:"" help:"Clients of a user pool."`
	IDP        idpCommand        `cmd:"" name:"idp" help:"Where else a pool's users may log in: Feishu, GitHub, …"`
	LoginTest  loginTestCommand  `cmd:"" name:"login-test" help:"Log in at a user pool as an application would, and see what it gets."`
	Provider   providerCommand   `cmd:"" help:"Credential providers: how agents get credentials of third parties."`
	Keys       keysCommand       `cmd:"" help:"Keys that seal what Deputy keeps: list and rotate them."`
	SCIMToken  scimTokenCommand  `cmd:"" name:"scim-token" help:"Tokens for provisioning users by SCIM 2.0."`
	Grant      grantCommand      `cmd:"" help:"What users gave credential providers, and revoking it."`
	Delegation delegationCommand `cmd:"" help:"Which workloads may use whose grants."`
	Revocation revocationCommand `cmd:"" help:"What is still to be revoked at third parties."`
	Webhook    webhookCommand    `cmd:"" help:"Who is told of what happens to authorizations and grants."`
	Operator   operatorCommand   `cmd:"" name:"operator-token" help:"Tokens of operators: who may administer Deputy, in which role and where."`
	Doctor     doctorCommand     `cmd:"" help:"Look for what is wrong: settings, files, the service, and what it uses."`
	Audit      auditCommand      `cmd:"" help:"Read the audit log."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

// output is where a command writes.
type output struct {
	out, err io.Writer
	json     bool
}

// print writes v as one line of JSON, or else the text for people.
func (o output) print(v any, text func(io.Writer) error) error {
	if o.json {
		return json.NewEncoder(o.out).Encode(v)
	}
	return text(o.out)
}

// Run parses and runs one command line (without the program's name) and returns
// the exit code: 0 for success, 1 when the command failed, 2 when it was not
// understood.
func Run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("deputy"), kong.Description("Deputy lets agents act for people without owning their credentials."),
		kong.Writers(out, errOut), kong.Exit(func(code int) { exited = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return report(output{out, errOut, false}, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		_, _ = fmt.Fprintf(errOut, "deputy: %s\n  try: %s --help\n", err, understood(err)) // there is nowhere else to say it
		return exitUsage
	}
	o := output{out, errOut, c.JSON}
	if err := parsed.Run(o); err != nil {
		return report(o, err)
	}
	return exitOK
}

// understood returns how far a command line could be read: the command whose
// help is of use.
func understood(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		for _, p := range slices.Backward(wrong.Context.Path) {
			if p.Command != nil {
				return p.Command.FullPath()
			}
		}
	}
	return "deputy"
}

// report shows an error: what happened, where it came from, what to do.
func report(o output, err error) int {
	if errors.Is(err, context.Canceled) {
		return exitFailed
	}
	var f *fault.Error
	if !errors.As(err, &f) { // whoever reads this is the operator, who may know everything
		f = fault.New(fault.Internal, "internal", "%s", err)
	}
	if o.json {
		_ = json.NewEncoder(o.err).Encode(map[string]string{"code": f.Code, "message": f.Message, "source": f.Source, "fix": f.Fix}) // there is nowhere else to say it
		return exitFailed
	}
	text := "deputy: " + f.Message + "\n"
	if f.Source != "" {
		text += "  from: " + f.Source + "\n"
	}
	if f.Fix != "" {
		text += "  fix:  " + f.Fix + "\n"
	}
	if cause := errors.Unwrap(f); cause != nil {
		text += "  why:  " + cause.Error() + "\n"
	}
	_, _ = io.WriteString(o.err, text) // there is nowhere else to say it
	return exitFailed
}
