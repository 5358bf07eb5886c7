package server_test

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet/process"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/server/servertest"
)

// TestAgentsWithUsersOfTheirOwn launches an agent as a user of its own: it finds its
// launch file, which nobody else reads, and runs what was built. Only root can do
// that; for everybody else it is refused at the start.
func TestAgentsWithUsersOfTheirOwn(t *testing.T) {
	const first = 1_900_100_000
	users := process.Users{First: first, Count: 10}
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o711)) //nolint:gosec // As an operator would.
	if os.Geteuid() != 0 {
		_, err := server.Build(t.Context(), server.Config{Data: servertest.DataDir(t), Listen: "127.0.0.1:0", PublicURL: "http://127.0.0.1:1", IngressListen: "127.0.0.1:0", IngressURL: "http://127.0.0.1:2", AgentDir: dir, AgentUsers: users, Logger: slog.New(slog.DiscardHandler)})
		if !fault.HasCode(err, "agent_users") {
			t.Errorf("not root, and it is to run agents as others: %v", err)
		}
		return
	}
	w := newWorld(t, func(c *server.Config) { c.AgentDir, c.AgentUsers = dir, users })
	files := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	program, err := os.ReadFile(self) //nolint:gosec // It is this test.
	must(t, err)
	must(t, os.WriteFile(filepath.Join(files, "program"), program, 0o700)) //nolint:gosec // It is run.
	w.deploy("a", files, "program", nil)

	bearer := http.Header{"Authorization": {"Bearer " + w.person("zhangsan").logIn().accessToken()}}
	var got seen
	if a := w.invoke("a", "{}", bearer); a.status != http.StatusOK || json.Unmarshal([]byte(a.body), &got) != nil || strings.Count(got.Launch, ".") != 2 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if wat := w.api("POST", "/workload-tokens", strings.TrimSpace(got.Launch), "{}"); wat.status != http.StatusOK {
		t.Errorf("its launch token: %d %s", wat.status, wat.body)
	}
	for path, mode := range map[string]fs.FileMode{"launch/default/a": 0o750, "launch/default/a/launch.jwt": 0o640, "agents/default/a": 0o710, "agents/default/a/home": 0o700, "agents/default/a/log": 0o700} {
		info, err := os.Stat(filepath.Join(dir, path))
		must(t, err)
		owner := info.Sys().(*syscall.Stat_t)
		if info.Mode().Perm() != mode || (int(owner.Uid) == first) != (path == "agents/default/a/home") || path != "agents/default/a/log" && owner.Gid != first {
			t.Errorf("%s is %v of %d:%d", path, info.Mode(), owner.Uid, owner.Gid)
		}
	}
	if got := w.api("DELETE", "/workload-pools/default/agents/a", w.operator, ""); got.status/100 != 2 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestWhereAgentsCannotBe: the data directory lets nobody in, and neither does what
// is below a directory that others may not pass.
func TestWhereAgentsCannotBe(t *testing.T) {
	users := process.Users{First: 1_900_100_000, Count: 10}
	data, closed := servertest.DataDir(t), filepath.Join(t.TempDir(), "closed")
	must(t, os.Mkdir(closed, 0o700))
	for what, dir := range map[string]string{"none": "", "the data directory": data, "in it": filepath.Join(data, "agents"), "behind a closed door": filepath.Join(closed, "agents")} {
		s, err := server.Build(t.Context(), server.Config{Data: data, Listen: "127.0.0.1:0", PublicURL: "http://127.0.0.1:1", IngressListen: "127.0.0.1:0", IngressURL: "http://127.0.0.1:2", AgentDir: dir, AgentUsers: users, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			s.Close()
		}
		if !fault.HasCode(err, "agent_dir") || fault.As(err).Source != "--agent-dir" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
