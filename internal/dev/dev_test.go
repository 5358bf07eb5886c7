package dev_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/dev"
	"github.com/deputy-id/deputy/internal/dotenv"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/freeport"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/visitor"
	deputy "github.com/deputy-id/deputy/sdk"
)

// patience is how long anything may take: the first start makes everything.
const patience = time.Minute

// terminal is what a developer sees, line by line.
type terminal struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newTerminal() *terminal { return &terminal{changed: make(chan struct{})} }

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
	return t.text.Write(p)
}

func (t *terminal) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// await waits until what is shown has text, n times.
func (t *terminal) await(tb testing.TB, n int, text string) {
	tb.Helper()
	late := time.After(patience)
	for {
		t.mu.Lock()
		shown, changed := t.text.String(), t.changed
		t.mu.Unlock()
		if strings.Count(shown, text) >= n {
			return
		}
		select {
		case <-changed:
		case <-late:
			tb.Fatalf("%q was not shown %d times:\n%s", text, n, shown)
		}
	}
}

// desk is a developer at work.
type desk struct {
	dev.Config
	screen *terminal
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	ports, err := freeport.Find(3)
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) string { return "127.0.0.1:" + ports[i] }
	d := &desk{screen: newTerminal()}
	d.Config = dev.Config{
		Data: filepath.Join(t.TempDir(), "dev"), Dir: t.TempDir(), Listen: at(0), IngressListen: at(1), AgentListen: at(2),
		Fill: func(text []byte) ([]byte, error) { return text, nil }, Version: "test", In: strings.NewReader(""), Out: d.screen, ErrOut: d.screen, Environment: os.Environ(),
	}
	return d
}

// start runs Deputy until the returned function is called, which returns how it
// ended.
func (d *desk) start(t *testing.T) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- dev.Run(ctx, d.Config) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

// agent serves an agent of the SDK with what is in the environment's file, as a
// process of its own would, until the returned function is called.
func (d *desk) agent(t *testing.T) (client *deputy.Client, stop func()) {
	t.Helper()
	variables, err := dotenv.Read(filepath.Join(d.Data, "agent.env"))
	if err != nil {
		t.Fatal(err)
	}
	for variable, value := range variables {
		t.Setenv(variable, value)
	}
	if client, err = deputy.FromEnvironment(); err != nil {
		t.Fatal(err)
	}
	a := &deputy.Agent{Name: "agent", Deputy: client, Respond: func(_ context.Context, turn *deputy.Turn) error {
		turn.Say("for " + turn.Session.User.Subject)
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx) }()
	return client, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// ask says something to the agent as a user, and returns the answer's status and text.
func (d *desk) ask(t *testing.T, user string) (status int, answer string) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(d.Data, user+".key"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.IngressListen+"/agents/default/agent/invoke", strings.NewReader(`{"prompt":"hello"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// The developer starts Deputy, and then his agent, twice: each time it can be
// talked to as either user, and gets tokens of its own. On the next day all is as
// it was.
func TestDay(t *testing.T) {
	d := newDesk(t)
	stop := d.start(t)
	d.screen.await(t, 1, "set -a; .")
	if status, _ := d.ask(t, "alice"); status != http.StatusServiceUnavailable {
		t.Errorf("before it is started: %d", status)
	}
	for run := range 2 {
		client, end := d.agent(t)
		if run == 0 {
			d.screen.await(t, 1, "The agent agent answers.")
		}
		_, alices := d.ask(t, "alice")
		status, bobs := d.ask(t, "bob")
		if status != http.StatusOK || !strings.Contains(alices, "for usr_") || !strings.Contains(bobs, "for usr_") || subject(alices) == subject(bobs) {
			t.Errorf("run %d: %d\n%s\n%s", run, status, alices, bobs)
		}
		// Each process exchanges the launch file for itself.
		if _, _, err := client.WorkloadToken(t.Context(), deputy.Secret{}); err != nil {
			t.Errorf("run %d: %v", run, err)
		}
		end()
	}
	d.logIn(t)
	first := d.passwords(t)
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	d.start(t)
	d.screen.await(t, 2, "set -a; .")
	_, end := d.agent(t)
	defer end()
	d.screen.await(t, 2, "The agent agent answers.")
	if status, answer := d.ask(t, "alice"); status != http.StatusOK {
		t.Errorf("the next day: %d %s", status, answer)
	}
	if second := d.passwords(t); second["alice"] == "" || second["alice"] != first["alice"] || second["bob"] != first["bob"] {
		t.Error("the users have other passwords on the next day")
	}
	if !strings.Contains(d.screen.String(), first["alice"]) {
		t.Error("nobody is told how to log in")
	}
}

// logIn has alice log in on the agent's page.
func (d *desk) logIn(t *testing.T) {
	t.Helper()
	browser, err := visitor.New()
	if err != nil {
		t.Fatal(err)
	}
	page := "http://" + d.IngressListen + "/agents/default/agent/"
	at, err := browser.Get(t.Context(), page+"login", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		fields         []string
		fill           url.Values
		button, choice string
	}{
		{[]string{"username", "password"}, url.Values{"username": {"alice"}, "password": {d.passwords(t)["alice"]}}, "", ""},
		{[]string{"decision"}, nil, "decision", "allow"},
	} {
		form, err := at.Find(step.fields...)
		if err != nil {
			t.Fatalf("%s: %v", at.URL, err)
		}
		if at, err = browser.Submit(t.Context(), at, form, step.fill, step.button, step.choice, nil); err != nil {
			t.Fatal(err)
		}
	}
	if at.URL.String() != page || !strings.Contains(at.Body, "alice") {
		t.Errorf("the login ends at %s:\n%s", at.URL, at.Body)
	}
}

func subject(answer string) string {
	_, after, _ := strings.Cut(answer, "for usr_")
	return strings.SplitN(after, `"`, 2)[0]
}

func (d *desk) passwords(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.Data, "passwords.json"))
	if err != nil {
		t.Fatal(err)
	}
	var passwords map[string]string
	if err := json.Unmarshal(b, &passwords); err != nil {
		t.Fatal(err)
	}
	return passwords
}

// The command has the agent's environment, runs in its directory, and says by its
// end how it went.
func TestCommand(t *testing.T) {
	for _, c := range []struct {
		name, script, shown, code string
	}{
		{"well", `echo "at $PORT for $DEPUTY_WORKLOAD, $GREETING" && test -s "$DEPUTY_WORKLOAD_TOKEN_FILE" && pwd`, "for spiffe://deputy.local/default/greeter, good day", ""},
		{"badly", "exit 3", "", "command_failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			d.Command = []string{"sh", "-c", c.script}
			d.Text = []byte("common: {agent_name: greeter, entry_point: greet.py, language: Python, launch_type: local}\n" +
				"launch_types: {local: {runtime_auth_type: none, runtime_envs: {GREETING: good day}}}\n")
			err := dev.Run(t.Context(), d.Config)
			if code := codeOf(err); code != c.code {
				t.Errorf("it ended with %q: %v", code, err)
			}
			if shown := d.screen.String(); !strings.Contains(shown, c.shown) || c.code == "" && !strings.Contains(shown, d.Dir+"\n") {
				t.Errorf("it shows\n%s", shown)
			}
			text, err := os.ReadFile(filepath.Join(d.Data, "agent.env"))
			if err != nil || !strings.Contains(string(text), "GREETING='good day'\n") {
				t.Errorf("%v, the file has\n%s", err, text)
			}
		})
	}
}

// Whoever reaches a Deputy for development may do everything: nobody does from
// outside. What it keeps is for its developer, and no version control takes it in.
func TestPrivate(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		flag string
		set  *string
	}{{"--listen", &d.Listen}, {"--ingress-listen", &d.IngressListen}, {"--agent-listen", &d.AgentListen}} {
		for _, address := range []string{"0.0.0.0:18080", ":18080", "192.0.2.1:18080", "localhost:18080", "127.0.0.1:0", "127.0.0.1"} {
			before := *c.set
			*c.set = address
			if err := dev.Run(t.Context(), d.Config); codeOf(err) != "listen_invalid" || fault.As(err).Source != c.flag {
				t.Errorf("%s %s: %v", c.flag, address, err)
			}
			*c.set = before
		}
	}
	d.AgentListen = d.Listen
	if err := dev.Run(t.Context(), d.Config); codeOf(err) != "listen_invalid" {
		t.Errorf("two on one port: %v", err)
	}
	if _, err := os.Stat(d.Data); !os.IsNotExist(err) {
		t.Errorf("something was made: %v", err)
	}

	d = newDesk(t)
	stop := d.start(t)
	d.screen.await(t, 1, "set -a; .")
	for _, file := range []string{"", "agent.env", "alice.key", "passwords.json", "deputy/operator.token"} {
		info, err := os.Stat(filepath.Join(d.Data, file))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(d.Data, ".gitignore")); err != nil || !strings.HasSuffix(string(b), "\n*\n") {
		t.Errorf("%q, %v", b, err)
	}
	if err := dev.Run(t.Context(), d.Config); codeOf(err) != "data_in_use" {
		t.Errorf("a second one beside it: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(filepath.Join(d.Data, "deputy.log"))
	if err != nil {
		t.Fatal(err)
	}
	for name, password := range d.passwords(t) {
		if secret.FromString(password).Empty() || strings.Contains(string(log), password) {
			t.Errorf("%s's password is in the log, or there is none", name)
		}
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.As(err).Code
}
