package rest

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/name"
)

type newAgent struct {
	Directory  string `json:"directory" example:"/srv/agents/doc-agent" doc:"Absolute path of the agent's files, on the machine of the runtime"`
	Definition string `json:"definition,omitempty" doc:"Text of agentkit.yaml; the file in the directory if left out"`
	Image      string `json:"image,omitempty" example:"registry.example/doc-agent@sha256:…" doc:"On Kubernetes: image to run, in place of the definition's"`
}

type agentJSON struct {
	Name      string        `json:"name"`
	Pool      string        `json:"pool"`
	Workload  string        `json:"workload" doc:"SPIFFE ID"`
	Version   int64         `json:"version"`
	Build     int64         `json:"build" doc:"Which of its builds the version runs"`
	Desired   agent.Desired `json:"desired" enum:"running,stopped"`
	State     fleet.State   `json:"state,omitempty"`
	Reason    string        `json:"reason,omitempty" doc:"Why it is in this state"`
	Since     *time.Time    `json:"since,omitempty"`
	NextTry   *time.Time    `json:"nextTry,omitempty"`
	Restarts  int           `json:"restarts"`
	Serving   int64         `json:"serving,omitempty" doc:"The version before, which takes the requests until this one is ready"`
	Endpoint  string        `json:"endpoint,omitempty" doc:"Service endpoint; append /invoke"`
	Inbound   []string      `json:"inbound,omitempty" doc:"Who is let in: custom_jwt, key_auth, pool_session (people who log in on the agent's own page), none (everybody)"`
	Protocols []string      `json:"protocols,omitempty" doc:"How it is talked to below its endpoint: invoke, websocket (/ws), a2a, mcp"`
	Warnings  []warningJSON `json:"warnings,omitempty" doc:"What the definition has that Deputy does not use"`
	CreatedAt time.Time     `json:"createdAt"`
	UpdatedAt time.Time     `json:"updatedAt"`
}

type warningJSON struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

func (a *API) agent(v agent.Agent) agentJSON {
	shown := agentJSON{Name: v.Name, Pool: v.Pool, Workload: v.Workload().SPIFFEID(a.TrustDomain), Version: v.Version, Build: v.Build, Desired: v.Desired, CreatedAt: v.CreatedAt, UpdatedAt: v.UpdatedAt}
	shown.Inbound, shown.Protocols = v.Definition.Inbound.Ways(), v.Definition.Paths.Protocols()
	if a.Fleet == nil {
		return shown
	}
	shown.Endpoint = a.IngressURL + "/agents/" + v.Pool + "/" + v.Name
	// An agent that the fleet has not seen yet has no state yet.
	if _, s, err := a.Fleet.Lookup(v.Workload()); err == nil {
		if s.Next != nil {
			shown.Serving, s = s.Version, *s.Next
		}
		shown.State, shown.Reason, shown.Since, shown.NextTry, shown.Restarts = s.State, s.Reason, optional(s.Since), optional(s.NextTry), s.Restarts
	}
	return shown
}

func (a *API) listAgents(c *call) (any, error) {
	if _, err := a.Workloads.Store.WorkloadPool(c.ctx, c.path("pool")); err != nil {
		return nil, err
	}
	found, err := a.Agents.Store.Agents(c.ctx, c.path("pool"))
	return listOf(found, a.agent), err
}

// definitionFile is where an agent's definition is.
const definitionFile = "agentkit.yaml"

func (a *API) deployAgent(c *call) (any, error) {
	var in newAgent
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	d, warnings, err := a.definition(in)
	if err != nil {
		return nil, err
	}
	deployed, err := a.Agents.Deploy(c.ctx, c.caller, c.path("pool"), in.Directory, d)
	if err != nil {
		return nil, err
	}
	a.Fleet.Wake()
	shown := a.agent(deployed)
	shown.Warnings = warned(warnings)
	return shown, nil
}

func warned(warnings []agent.Warning) []warningJSON {
	return listOf(warnings, func(w agent.Warning) warningJSON { return warningJSON{w.Field, w.Reason} }).Items
}

// definition returns the definition that is meant, with its warnings, if agents run
// here.
func (a *API) definition(in newAgent) (agent.Definition, []agent.Warning, error) {
	if a.Fleet == nil {
		return agent.Definition{}, nil, fault.New(fault.Unavailable, "runtime_off", "this Deputy runs no agents").WithSource("--ingress-listen").WithFix("start it with --ingress-listen")
	}
	return in.read()
}

// read returns the definition that is meant, with its warnings.
func (in newAgent) read() (agent.Definition, []agent.Warning, error) {
	text := []byte(in.Definition)
	if in.Definition == "" {
		// A relative path would be read from wherever the server was started.
		if !filepath.IsAbs(in.Directory) {
			return agent.Definition{}, nil, fault.New(fault.Invalid, "agent_directory", "directory %q is not an absolute path", name.Clip(in.Directory, 200)).
				WithSource("directory").WithFix("name the directory that holds %s by its absolute path", definitionFile)
		}
		var err error
		if text, err = readDefinition(in.Directory); err != nil {
			return agent.Definition{}, nil, err
		}
	}
	d, warnings, err := agent.Parse(text)
	if err == nil && in.Image != "" {
		d.Image.Ref, err = in.Image, agent.CheckImage(in.Image)
	}
	return d, warnings, err
}

// readDefinition reads a bounded agentkit.yaml.
func readDefinition(directory string) ([]byte, error) {
	path := filepath.Join(directory, definitionFile)
	b, err := readRegular(path, maxBody)
	if err == nil {
		return b, nil
	}
	unreadable := fault.Wrap(err, fault.Invalid, "definition_unreadable", "the agent's definition cannot be read").WithSource(name.Clip(path, 300))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable.WithFix("put %s there, or send its text as \"definition\"", definitionFile)
	}
	return nil, unreadable.WithFix("it must be a readable file of at most %d bytes", maxBody)
}

var errNotRegular, errTooLarge = errors.New("not a regular file"), errors.New("too large")

// readRegular reads a file of at most limit bytes. What is not a regular file is
// not even opened: opening a named pipe waits for somebody who writes.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}

func (a *API) getAgent(c *call) (any, error) {
	found, err := a.Agents.Store.Agent(c.ctx, c.path("pool"), c.path("agent"))
	if err != nil {
		return nil, err
	}
	return a.agent(found), nil
}

func (a *API) deleteAgent(c *call) (any, error) {
	err := a.Agents.Delete(c.ctx, c.caller, c.path("pool"), c.path("agent"))
	a.wake()
	return nil, err
}

func (a *API) startAgent(c *call) (any, error) { return a.desire(c, agent.Running) }
func (a *API) stopAgent(c *call) (any, error)  { return a.desire(c, agent.Stopped) }

func (a *API) desire(c *call, d agent.Desired) (any, error) {
	changed, err := a.Agents.SetDesired(c.ctx, c.caller, c.path("pool"), c.path("agent"), d)
	if err != nil {
		return nil, err
	}
	a.wake()
	return a.agent(changed), nil
}

func (a *API) wake() {
	if a.Fleet != nil {
		a.Fleet.Wake()
	}
}

type logsJSON struct {
	Lines []string `json:"lines"`
}

func (a *API) agentLogs(c *call) (any, error) {
	n, err := c.number("lines", 100, 1, 1000)
	if err != nil {
		return nil, err
	}
	w, err := a.logged(c)
	if err != nil {
		return nil, err
	}
	lines, err := a.Fleet.Logs(c.ctx, w, n)
	return logsJSON{append([]string{}, lines...)}, err
}

// logged returns the agent that a request about a log names, if it runs here.
func (a *API) logged(c *call) (name.Workload, error) {
	found, err := a.Agents.Store.Agent(c.ctx, c.path("pool"), c.path("agent"))
	if err != nil {
		return name.Workload{}, err
	}
	if a.Fleet == nil {
		return name.Workload{}, fault.New(fault.Unavailable, "runtime_off", "this Deputy runs no agents").WithSource("--ingress-listen").WithFix("ask the replica that does")
	}
	return found.Workload(), nil
}

// followAgentLogs sends the last lines that an agent wrote, and then every line that
// it writes, until the client leaves. The id of an event is the place behind its
// lines.
func (a *API) followAgentLogs(c *call) (any, error) {
	n, err := c.number("lines", 100, 0, 1000)
	if err != nil {
		return nil, err
	}
	w, err := a.logged(c)
	if err != nil {
		return nil, err
	}
	place := c.query["after"]
	// Whoever reconnects asks the same again and says in the header how far he came (WHATWG HTML, section 9.2.4).
	if last := c.r.Header.Get("Last-Event-ID"); last != "" {
		place = last
	}
	var lines []string
	if place == "" {
		// At once, so that whoever asks knows from where on he misses nothing.
		if lines, place, err = a.Fleet.Follow(c.ctx, w, "", n); err != nil {
			return nil, err
		}
	}
	s := newStream(c)
	defer s.close()
	for c.r.Method != http.MethodHead { // there is no body to follow
		if lines != nil {
			if err := s.event("lines", place, logsJSON{lines}); err != nil {
				break // the client is gone
			}
		}
		if lines, place, err = a.Fleet.Follow(c.ctx, w, place, maxLinesAtOnce); err != nil {
			if f := fault.As(err); c.ctx.Err() == nil {
				_ = s.event("error", "", map[string]string{"code": f.Code, "detail": f.Message}) // and who asks anew is told the same
			}
			break
		}
	}
	return streamed, nil
}

// maxLinesAtOnce bounds one event of a followed log.
const maxLinesAtOnce = 200
