// Package measure tells, in benchmarks, what requests cost when many callers send them at once: rate, tail and processor time.
package measure

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Load is what n requests took.
type Load struct {
	Rate float64       // requests per second
	P99  time.Duration // 99 of 100 requests took at most so long
	CPU  time.Duration // processor time of this process for one request, whoever spent it: clients, too
}

// Run has that many callers make n requests as fast as they are answered; each
// is told which caller it is, from 0 on. An error ends its caller.
func Run(callers, n int, request func(caller int) error) (Load, error) {
	var next atomic.Int64
	took := make([]time.Duration, n)
	failed := make([]error, callers)
	var group sync.WaitGroup
	used, err := processorTime()
	begin := time.Now()
	for caller := range callers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && failed[caller] == nil; i = next.Add(1) - 1 {
				start := time.Now()
				failed[caller] = request(caller)
				took[i] = time.Since(start)
			}
		})
	}
	group.Wait()
	lasted := time.Since(begin)
	usedThen, err2 := processorTime()
	slices.Sort(took)
	l := Load{Rate: float64(n) / lasted.Seconds(), P99: took[n*99/100], CPU: (usedThen - used) / time.Duration(n)}
	return l, errors.Join(append(failed, err, err2)...)
}

func processorTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// Median returns the middle one of the values, of which there must be one.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
