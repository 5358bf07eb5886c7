package measure_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/deputy-id/deputy/internal/measure"
)

func TestRun(t *testing.T) {
	var all atomic.Int64
	var each [3]atomic.Int64
	got, err := measure.Run(3, 1000, func(caller int) error {
		all.Add(1)
		each[caller].Add(1)
		return nil
	})
	if err != nil || all.Load() != 1000 || each[0].Load()+each[1].Load()+each[2].Load() != 1000 || got.Rate <= 0 || got.P99 <= 0 || got.CPU < 0 {
		t.Errorf("%+v %v, %d requests", got, err, all.Load())
	}
	broken := errors.New("broken")
	if _, err := measure.Run(1, 10, func(int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestMedian(t *testing.T) {
	values := []float64{9, 1, 5}
	if m := measure.Median(values); m != 5 || values[0] != 9 {
		t.Errorf("%v of %v", m, values)
	}
}
