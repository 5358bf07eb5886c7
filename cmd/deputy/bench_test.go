package main_test

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	if runtime.GOOS != "linux" {
		b.Skip("resident memory is read from /proc")
	}
	program := filepath.Join(b.TempDir(), "deputy")
	build := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	data := filepath.Join(b.TempDir(), "data")
	serve(b, program, data) // makes the data directory
	var ready []time.Duration
	var resident float64
	for b.Loop() {
		took, memory := serve(b, program, data)
		ready, resident = append(ready, took), max(resident, memory)
	}
	slowest := ready[0]
	for _, r := range ready {
		slowest = max(slowest, r)
	}
	b.ReportMetric(float64(slowest.Microseconds())/1000, "ready-ms")
	b.ReportMetric(resident, "idle-MiB")
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	b.ReportMetric(0, "ns/op") // starts are reported as ready-ms
}

// serve runs the program until it is ready and returns how long that took, and
// its resident memory in MiB.
func serve(b *testing.B, program, data string) (ready time.Duration, resident float64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	c := exec.Command(program, "serve", "--data", data, "--listen", address)
	begin := time.Now()
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			b.Error(err)
		}
		if err := c.Wait(); err != nil {
			b.Error(err)
		}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := begin.Add(10 * time.Second); ; <-tick.C {
		resp, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			_ = resp.Body.Close() // only the status counts
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			b.Fatalf("not ready: %v", err)
		}
	}
	ready = time.Since(begin)
	f, err := os.Open("/proc/" + strconv.Itoa(c.Process.Pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it is only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if kib, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(kib, "kB")), 64)
			if err != nil {
				b.Fatal(err)
			}
			return ready, n / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0, 0
}
