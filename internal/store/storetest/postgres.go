package storetest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/freeport"
	"github.com/deputy-id/deputy/internal/name"
)

// Server is a private PostgreSQL server on a loopback port.
type Server struct{ address string }

// Postgres starts a PostgreSQL server that ends with the test. Without the
// binaries the test is skipped, except when CI=true, where it fails: a suite that
// did not run on both databases must not look as if it had.
func Postgres(t testing.TB) *Server {
	t.Helper()
	bin := postgresBinaries()
	if bin == "" {
		const message = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
		if os.Getenv("CI") == "true" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	// Not t.TempDir: PostgreSQL runs as another user when the tests run as root, and must reach its files.
	dir, err := os.MkdirTemp("", "deputy-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a temporary directory
	as := otherThanRoot(t, dir)
	run := func(command string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bin, command), args...)
		c.Dir, c.Env, c.SysProcAttr = dir, []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}, as
		return c
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "--pgdata", data, "--auth", "trust", "--username", "deputy", "--encoding", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	ports, err := freeport.Find(1)
	if err != nil {
		t.Fatal(err)
	}
	server := run("postgres", "-D", data, "-p", ports[0], "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir,
		"-c", "fsync=off", "-c", "max_connections=200")
	var output bytes.Buffer
	server.Stdout, server.Stderr = &output, &output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // immediate shutdown; the data is thrown away
		_ = server.Wait()                          // its exit status tells of the signal
	})
	s := &Server{net.JoinHostPort("127.0.0.1", ports[0])}
	s.wait(t, &output)
	return s
}

// postgresBinaries returns the directory of the newest installed server, or "".
func postgresBinaries() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well-formed
	if len(found) == 0 {
		return ""
	}
	slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) + strings.Compare(a, b) })
	return filepath.Dir(found[len(found)-1])
}

// otherThanRoot returns how to run PostgreSQL, which refuses to run as root.
func otherThanRoot(t testing.TB, dir string) *syscall.SysProcAttr {
	if os.Getuid() != 0 {
		return nil
	}
	for _, candidate := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(candidate)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if errU != nil || errG != nil {
			continue
		}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			t.Fatal(err)
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	t.Fatal("running as root, and there is no user to run PostgreSQL as")
	return nil
}

func (s *Server) url(database string) string {
	return (&url.URL{Scheme: "postgres", User: url.User("deputy"), Host: s.address, Path: "/" + database, RawQuery: "sslmode=disable"}).String()
}

// wait returns when the server answers. PostgreSQL announces that on no channel
// that could be waited for, so it is asked until it does.
func (s *Server) wait(t testing.TB, output *bytes.Buffer) {
	db := s.admin(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for db.PingContext(ctx) != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("PostgreSQL does not answer:\n%s", output)
		}
	}
}

func (s *Server) admin(t testing.TB) *sql.DB {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // a test's connection
	return db
}

// URL makes a new database and returns its URL.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	database := "t" + strings.TrimPrefix(name.NewID("x"), "x_")
	if _, err := s.admin(t).ExecContext(t.Context(), fmt.Sprintf("CREATE DATABASE %s", database)); err != nil {
		t.Fatal(err)
	}
	return s.url(database)
}
