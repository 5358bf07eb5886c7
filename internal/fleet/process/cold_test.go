package process_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/agent/agenttest"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/fleet/process"
	"github.com/deputy-id/deputy/internal/freeport"
	"github.com/deputy-id/deputy/internal/measure"
)

// BenchmarkColdStart has a call find the sample agent idle, and tells how long it
// waits for it; next to that, in turns, how long the same program takes by itself
// until it is healthy, asked every millisecond.
func BenchmarkColdStart(b *testing.B) {
	program := b.TempDir()
	build := exec.CommandContext(b.Context(), "go", "build", "-o", filepath.Join(program, "agent"), "../../../examples/feishu-doc-agent")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	env := agent.Environment{"FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth"}
	store, dir := &agenttest.Memory{}, b.TempDir()
	f := fleet.New(fleet.Config{
		Store: store, Driver: &process.Driver{Dir: filepath.Join(dir, "agents"), Log: slog.New(slog.DiscardHandler)}, Launches: plainMint{},
		URL: "http://localhost:8080", TrustDomain: "deputy.test", Dir: filepath.Join(dir, "launch"), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	a := agent.Agent{Pool: doc.Pool, Name: doc.Name, Directory: program, Version: 1, Desired: agent.Running, CreatedAt: time.Unix(1, 0),
		Definition: agent.Definition{Name: doc.Name, EntryPoint: "agent", Language: agent.Python, Env: env, IdleTimeout: time.Millisecond}}
	if err := store.PutAgent(ctx, agenttest.Permit(b, agent.ActionPut, doc.Pool, doc.Name), a); err != nil {
		b.Fatal(err)
	}
	f.Wake()

	var cold, bare []float64
	for b.Loop() {
		untilIdle(b, f)
		began := time.Now()
		s, leave, err := f.Enter(ctx, doc)
		if err != nil || s.State != fleet.Ready {
			b.Fatalf("%+v, %v", s, err)
		}
		cold = append(cold, ms(time.Since(began)))
		leave()
		untilIdle(b, f)
		bare = append(bare, ms(bareStart(b, filepath.Join(program, "agent"), env)))
	}
	own, all := measure.Median(bare), measure.Median(cold)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(all, "ms-cold")
	b.ReportMetric(own, "ms-own-start")
	b.ReportMetric(all-own, "ms-added")
	b.ReportMetric(all/own, "cold/own")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func untilIdle(b *testing.B, f *fleet.Fleet) {
	b.Helper()
	for bound := time.Now().Add(time.Minute); time.Now().Before(bound); time.Sleep(time.Millisecond) {
		if _, s, err := f.Lookup(doc); err == nil && s.State == fleet.Idle {
			return
		}
	}
	b.Fatal("the agent does not become idle")
}

// bareStart starts the program and returns when it is healthy.
func bareStart(b *testing.B, program string, env agent.Environment) time.Duration {
	b.Helper()
	ports, err := freeport.Find(1)
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "launch.jwt")
	if err := os.WriteFile(file, []byte("token\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), program)
	cmd.Env = []string{"PORT=" + ports[0], "DEPUTY_URL=http://localhost:8080", "DEPUTY_WORKLOAD=spiffe://deputy.test/default/doc", "DEPUTY_WORKLOAD_TOKEN_FILE=" + file}
	for variable, value := range env {
		cmd.Env = append(cmd.Env, variable+"="+value)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // by the signal
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for bound := began.Add(time.Minute); time.Now().Before(bound); time.Sleep(time.Millisecond) {
		resp, err := client.Get("http://" + net.JoinHostPort("127.0.0.1", ports[0]) + "/ping")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return time.Since(began)
		}
	}
	b.Fatal("the program does not become healthy")
	return 0
}
