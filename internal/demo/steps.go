package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// steps runs numbered steps and prints each with a tick or a cross and its time.
type steps struct {
	out    io.Writer
	count  int
	failed int
}

// section prints a heading.
func (s *steps) section(title string) { s.printf("\n%s\n", title) }

// do runs one step. check returns a note for the line (may be empty) or why the
// step does not hold. A step that fails does not stop the others: what follows
// from it fails too and says so itself. It reports whether the step held.
func (s *steps) do(ctx context.Context, what string, check func(context.Context) (note string, err error)) bool {
	s.count++
	begin := time.Now()
	note, err := check(ctx)
	mark := "✓"
	if err != nil {
		mark, note = "✗", err.Error()
		s.failed++
	}
	s.printf("%3d %s %s%s %6d ms\n", s.count, mark, what, strings.Repeat(" ", max(0, stepWidth-width(what))), time.Since(begin).Milliseconds())
	if note != "" {
		s.printf("       %s\n", note)
	}
	return err == nil
}

// stepWidth is the column of the times.
const stepWidth = 84

// width is how many columns a terminal needs for s: two for each Chinese
// character, and for full-width marks.
func width(s string) int {
	n := 0
	for _, r := range s {
		n++
		if unicode.Is(unicode.Han, r) || r >= 0x3000 && r <= 0x303f || r >= 0xff00 && r <= 0xff60 {
			n++
		}
	}
	return n
}

func (s *steps) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format, args...) // whoever reads this has gone: the exit code still tells
}
