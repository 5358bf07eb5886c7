package main_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkServe starts `deputy serve` on a data directory that exists and
// reports
//
//	ready-ms   from starting the process until /readyz answers (the slowest of the runs)
//	idle-MiB   resident memory then, at rest (the greatest of the runs)
//	MiB        size of the program
//
// It builds the program first, without a C compiler.
func BenchmarkServe(b *testing.B) {
	program := build(b)
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	data := filepath.Join(b.TempDir(), "data")
	serve(b, program, data).stop() // makes the data directory
	var ready []time.Duration
	var resident float64
	for b.Loop() {
		s := serve(b, program, data)
		ready, resident = append(ready, s.ready), max(resident, s.resident())
		s.stop()
	}
	b.ReportMetric(float64(slices.Max(ready).Microseconds())/1000, "ready-ms")
	b.ReportMetric(resident, "idle-MiB")
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	b.ReportMetric(0, "ns/op") // starts are reported as ready-ms
}

// build makes the program and returns its path.
func build(b *testing.B) string {
	b.Helper()
	if runtime.GOOS != "linux" {
		b.Skip("memory and processor time of a process are read from /proc")
	}
	program := filepath.Join(b.TempDir(), "deputy")
	build := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return program
}

// served is a running `deputy serve`.
type served struct {
	b       *testing.B
	command *exec.Cmd
	url     string
	ready   time.Duration // from its start until it answered
}

// serve runs the program until it is ready.
func serve(b *testing.B, program, data string, environment ...string) *served {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	s := &served{b: b, command: exec.Command(program, "serve", "--data", data, "--listen", address), url: "http://" + address}
	s.command.Env = append(os.Environ(), environment...)
	begin := time.Now()
	if err := s.command.Start(); err != nil {
		b.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := begin.Add(10 * time.Second); ; <-tick.C {
		resp, err := http.Get(s.url + "/readyz")
		if err == nil {
			_ = resp.Body.Close() // only the status counts
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			s.stop()
			b.Fatalf("not ready: %v", err)
		}
	}
	s.ready = time.Since(begin)
	return s
}

// stop ends the program and waits for its end.
func (s *served) stop() {
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		s.b.Error(err)
	}
	if err := s.command.Wait(); err != nil {
		s.b.Error(err)
	}
}

// proc reads a file about the process.
func (s *served) proc(name string) string {
	s.b.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(s.command.Process.Pid) + "/" + name)
	if err != nil {
		s.b.Fatal(err)
	}
	return string(text)
}

// resident returns the process's resident memory in MiB.
func (s *served) resident() float64 {
	s.b.Helper()
	_, rest, _ := strings.Cut(s.proc("status"), "VmRSS:")
	kib, _, _ := strings.Cut(rest, "kB")
	n, err := strconv.ParseFloat(strings.TrimSpace(kib), 64)
	if err != nil {
		s.b.Fatal(err)
	}
	return n / 1024
}

// processor returns the processor time that the process has used.
func (s *served) processor() time.Duration {
	s.b.Helper()
	text := s.proc("stat")
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime: fields 14 and 15 of proc(5), in hundredths of a second
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			s.b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
