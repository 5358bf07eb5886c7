package fault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
)

func TestTheCauseIsForLogsOnly(t *testing.T) {
	cause := fmt.Errorf("dial db-7.internal: %w", fs.ErrPermission)
	err := fault.Wrap(cause, fault.Unavailable, "store_unreachable", "the database does not answer").
		WithFix("check --database").WithSource("--database")
	if s := err.Error(); strings.Contains(s, "db-7") {
		t.Errorf("the message shows the cause: %s", s)
	}
	if want := "the database does not answer (from --database); check --database"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is not reachable")
	}
	var buf bytes.Buffer
	slog.New(slog.NewTextHandler(&buf, nil)).Error("m", "err", err)
	if !strings.Contains(buf.String(), "db-7") {
		t.Errorf("the log does not show the cause: %s", &buf)
	}
}

func TestAsMakesUnknownErrorsInternalAndMute(t *testing.T) {
	e := fault.As(errors.New("pq: password for user deputy"))
	if e.Kind != fault.Internal || e.Code != "internal" || strings.Contains(e.Error(), "password") {
		t.Errorf("got %v %q %q", e.Kind, e.Code, e)
	}
	if fault.As(nil) != nil {
		t.Error("As(nil) is not nil")
	}
	wrapped := fmt.Errorf("while serving: %w", fault.New(fault.NotFound, "x_not_found", "no x"))
	if !fault.Is(wrapped, fault.NotFound) || !fault.HasCode(wrapped, "x_not_found") || fault.As(wrapped).Code != "x_not_found" {
		t.Error("a wrapped fault is not found")
	}
}
