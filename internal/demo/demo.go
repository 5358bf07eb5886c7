// Package demo starts everything on this machine, sets it up through the public API, and, headless, plays the users and checks every step of the main flow.
//
// The parts are separate processes on separate ports, as in a real
// installation: the Feishu sandbox, the identity service with the runtime (which
// launches the sample agent itself), and the chat application. The demo uses
// nothing of Deputy's inside: what it does, a user can do with the documented API.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// Run runs the demo until ctx ends, or, headless, until every step is checked.
// It returns an error if something could not be started, if a part ended by
// itself, or if a step did not hold. Everything that it started has ended when it
// returns.
func Run(ctx context.Context, c Config) (err error) {
	remove, err := c.complete()
	if err != nil {
		return errors.Join(err, remove())
	}
	d := &demo{Config: c, began: time.Now()}
	defer func() {
		err = errors.Join(err, d.stop())
		if err != nil && ctx.Err() == nil {
			d.printf("The logs are in %s\n", filepath.Join(c.Data, "logs"))
			return // and with them the directory, even a temporary one
		}
		err = errors.Join(err, remove())
	}()
	show, err := d.begin(ctx)
	if err != nil || c.Headless {
		return err
	}
	show()
	err = d.wait(ctx)
	d.printf("\nStopping …\n")
	return err
}

// begin starts everything and, headless, plays. It returns what tells a person what
// to do.
func (d *demo) begin(ctx context.Context) (welcome func(), err error) {
	if d.Example == "" || d.Example == agentDirectory {
		w, err := d.start(ctx)
		if err == nil && d.Headless {
			err = d.play(ctx, w)
		}
		return func() { d.welcome(w) }, err
	}
	e, err := findExample(d.Example)
	if err != nil {
		return nil, err
	}
	w, err := d.startExample(ctx, e)
	if err == nil && d.Headless {
		err = d.playExample(ctx, w, e)
	}
	return func() { d.welcomeExample(w, e) }, err
}

// demo is a running demo.
type demo struct {
	Config
	began    time.Time
	state    *state
	api      *apiclient.Client
	operator secret.Text
	children []*child // in the order in which they were started
}

func (d *demo) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.Out, format, args...) // whoever reads this has gone
}

// told prints a phase.
func (d *demo) told(format string, args ...any) {
	d.printf("%6.1f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// start starts and sets up everything, from the third party up to the chat.
func (d *demo) start(ctx context.Context) (w world, err error) {
	if d.state, err = loadState(d.Data); err != nil {
		return w, err
	}
	u, err := d.urls()
	if err != nil {
		return w, err
	}
	d.told("data is in %s", d.Data)
	if err := d.startParty(ctx, u, "feishu"); err != nil {
		return w, err
	}
	if err := d.startDeputy(ctx, u); err != nil {
		return w, err
	}
	d.told("creating users, a client and the credential provider %s …", providerName)
	s := setup{api: d.api, state: d.state, urls: u, examples: d.Examples, told: d.told}
	if w, err = s.run(ctx); err != nil {
		return w, err
	}
	d.told("the agent runs: Launch Successfully")
	return w, d.startChat(ctx, w)
}

// urls are the addresses as a browser sees them. The identity service is called
// localhost and the others 127.0.0.1: cookies ignore ports, so that only a host
// name keeps them apart.
func (d *demo) urls() (urls, error) {
	identity, err := url.Parse("http://" + d.Listen)
	if err != nil {
		return urls{}, fault.Wrap(err, fault.Invalid, "listen_invalid", "%q is not an address", d.Listen).WithSource("--listen")
	}
	return urls{
		identity: "http://localhost:" + identity.Port(), ingress: "http://" + d.IngressListen,
		chat: "http://" + d.ChatListen, sandbox: "http://" + d.SandboxListen,
	}, nil
}

// run starts a child and waits until it answers.
func (d *demo) run(ctx context.Context, name, health, dir string, command ...string) error {
	c, err := startChild(d.Data, name, command, dir)
	if err != nil {
		return err
	}
	d.children = append(d.children, c)
	return c.ready(ctx, health)
}

// startParty starts the sandbox of a third party.
func (d *demo) startParty(ctx context.Context, u urls, party string) error {
	secretFile := filepath.Join(d.Data, "sandbox", "app.secret")
	if err := writePrivate(secretFile, []byte(d.state.AppSecret+"\n")); err != nil {
		return err
	}
	d.told("starting the sandbox of %s at %s …", party, u.sandbox)
	return d.run(ctx, "sandbox", u.sandbox+"/healthz", d.Data, d.Executable, "sandbox", "--party", party, "--listen", d.SandboxListen,
		"--app-id", appID, "--app-secret-file", secretFile, "--redirect-uri", u.callback())
}

func (d *demo) startDeputy(ctx context.Context, u urls) error {
	level := "info"
	if d.Headless {
		level = "debug" // the more there is in the log, the more the search through it says
	}
	d.told("starting Deputy at %s, with the runtime at %s …", u.identity, u.ingress)
	data := filepath.Join(d.Data, "deputy")
	err := d.run(ctx, "deputy", "http://"+d.Listen+"/readyz", d.Data, d.Executable, "serve", "--data", data, "--listen", d.Listen, "--public-url", u.identity,
		"--ingress-listen", d.IngressListen, "--ingress-url", u.ingress, "--allow-outbound", d.SandboxListen, "--log-level", level)
	if err != nil {
		return err
	}
	if d.operator, err = apiclient.ReadToken(filepath.Join(data, "operator.token")); err != nil {
		return err
	}
	d.api, err = apiclient.New(apiclient.Config{URL: "http://" + d.Listen, Token: d.operator})
	return err
}

// startChat builds the chat application, as its users would, and starts it with
// a .env file.
func (d *demo) startChat(ctx context.Context, w world) error {
	dir := filepath.Join(d.Data, "chat")
	if err := writePrivate(filepath.Join(dir, ".env"), dotEnv(w, d.state.ClientSecret)); err != nil {
		return err
	}
	d.told("building the chat application …")
	binary := filepath.Join(dir, "chat")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = filepath.Join(d.Examples, "chat")
	build.Env = childEnvironment(os.Environ())
	if out, err := build.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault.Wrap(err, fault.Unavailable, "chat_build_failed", "the chat application cannot be built:\n%s", out).
			WithFix("install Go from https://go.dev/dl and make sure that go is in PATH")
	}
	d.told("starting the chat application at %s …", w.chat)
	return d.run(ctx, "chat", w.chat+"/healthz", dir, binary)
}

// wait returns nil when ctx ends, and an error when a part ends before.
func (d *demo) wait(ctx context.Context) error {
	ended := make(chan *child, len(d.children))
	for _, c := range d.children {
		go func() {
			select {
			case <-c.done:
				ended <- c
			case <-ctx.Done():
			}
		}()
	}
	select {
	case c := <-ended:
		return c.ended()
	case <-ctx.Done():
		return nil
	}
}

// stop ends the children, the last one first. Those that have ended already are
// left alone.
func (d *demo) stop() error {
	var err error
	for i := len(d.children) - 1; i >= 0; i-- {
		err = errors.Join(err, d.children[i].stop())
	}
	return err
}

// play runs the headless tour.
func (d *demo) play(ctx context.Context, w world) error {
	t := &tour{
		world: w, steps: &steps{out: d.Out}, state: d.state, api: d.api, operator: d.operator, feishu: newSandboxControl(w.sandbox),
		data: d.Data, stop: d.stop,
	}
	return t.run(ctx)
}
