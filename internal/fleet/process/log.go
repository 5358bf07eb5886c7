package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

const (
	defaultMaxLog = 8 << 20
	keptLogs      = 2       // besides the present one
	maxLine       = 4 << 10 // bytes; the rest of a longer line is dropped, and counted
	maxTail       = 1 << 20 // bytes that are read at once
)

// lineLog is what an agent wrote, in all its runs: a row of files that only Deputy's
// user may read. Each is named after the place of its first byte, counted from the
// first that the agent ever wrote, so that a place stays what it is while old files
// go. Runs that overlap write to the same one.
type lineLog struct {
	dir string
	max int64 // bytes of a file

	mu      sync.Mutex
	writers int
	file    *os.File // nil unless somebody writes
	start   int64    // place of the file's first byte
	size    int64
	grown   chan struct{} // closed and replaced with each line, and when the log is removed
	removed bool
}

// logWriter is what one run of an agent writes to its log.
type logWriter struct {
	log *lineLog

	mu   sync.Mutex
	last string // the last line, for the reason why the run ended
}

func newLog(dir string, max int64) *lineLog {
	if max <= 0 {
		max = defaultMaxLog
	}
	return &lineLog{dir: dir, max: max, grown: make(chan struct{})}
}

// writer returns the log for a run, which closes it.
func (l *lineLog) writer() (*logWriter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		if err := l.open(); err != nil {
			return nil, err
		}
	}
	l.writers++
	return &logWriter{log: l}, nil
}

// open goes on with the last file, or begins the first one.
func (l *lineLog) open() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	starts, err := l.starts()
	if err != nil {
		return err
	}
	if l.start = 0; len(starts) > 0 {
		l.start = starts[len(starts)-1]
	}
	f, err := os.OpenFile(l.path(l.start), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

func (l *lineLog) path(start int64) string {
	return filepath.Join(l.dir, fmt.Sprintf("agent-%016x.log", start))
}

// starts returns the places of the first bytes of the files, in order.
func (l *lineLog) starts() ([]int64, error) {
	files, err := os.ReadDir(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var starts []int64
	for _, f := range files {
		digits, ok := strings.CutPrefix(strings.TrimSuffix(f.Name(), ".log"), "agent-")
		if start, err := strconv.ParseInt(digits, 16, 64); ok && err == nil {
			starts = append(starts, start)
		}
	}
	slices.Sort(starts)
	return starts, nil
}

// collect writes what r gives, line by line, until r ends. It goes on reading
// when the file cannot be written: an agent must not hang because a disk is full.
// The error is the first one of writing.
func (w *logWriter) collect(r io.Reader) error {
	var first error
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		text := printable(line)
		dropped := 0
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = in.ReadSlice('\n')
			dropped += len(line)
		}
		if dropped > 0 {
			text += fmt.Sprintf("… (%d bytes dropped)", dropped)
		}
		if text != "" {
			if werr := w.write(text); werr != nil && first == nil {
				first = werr
			}
		}
		if err != nil {
			return first
		}
	}
}

// printable makes a line safe for a terminal: an agent prints what strangers
// send it.
func printable(line []byte) string { return name.Printable(string(bytes.TrimRight(line, "\r\n"))) }

func (w *logWriter) write(text string) error {
	w.mu.Lock()
	w.last = text
	w.mu.Unlock()
	return w.log.append(time.Now().UTC().Format("2006-01-02T15:04:05.000Z ") + text + "\n")
}

func (w *logWriter) lastLine() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *logWriter) close() {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.log.writers--; w.log.writers == 0 && w.log.file != nil {
		w.log.file.Close()
		w.log.file = nil
	}
}

func (l *lineLog) append(entry string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || l.size+int64(len(entry)) > l.max && l.size > 0 {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.WriteString(entry)
	l.size += int64(n)
	l.wake()
	return err
}

// rotate begins the next file and drops the oldest one.
func (l *lineLog) rotate() error {
	if l.file == nil { // the last rotation failed
		return l.open()
	}
	next := l.start + l.size
	f, err := os.OpenFile(l.path(next), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	l.file.Close()
	l.file, l.start, l.size = f, next, 0
	starts, err := l.starts()
	if err != nil {
		return err
	}
	for _, old := range starts[:max(0, len(starts)-1-keptLogs)] {
		if err := os.Remove(l.path(old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// wake tells those who wait that there is more. The caller holds the lock.
func (l *lineLog) wake() {
	close(l.grown)
	l.grown = make(chan struct{})
}

// remove tells those who wait that the log is gone.
func (l *lineLog) remove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed = true
	l.wake()
}

// growth returns what is closed when there is more, and whether the log is gone.
func (l *lineLog) growth() (grown <-chan struct{}, removed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grown, l.removed
}

// tail returns at most the last n lines, and the place behind them.
func (l *lineLog) tail(n int) (lines []string, place int64, err error) {
	lines = []string{}
	starts, err := l.starts()
	if err != nil {
		return nil, 0, err
	}
	for i := len(starts) - 1; i >= 0 && (len(lines) < n || i == len(starts)-1); i-- {
		end, err := size(l.path(starts[i]))
		if err != nil {
			return nil, 0, err
		}
		from := max(0, end-maxTail)
		found, behind, err := read(l.path(starts[i]), from, math.MaxInt)
		if err != nil {
			return nil, 0, err
		}
		if from > 0 && len(found) > 0 {
			found = found[1:] // it is cut
		}
		if i == len(starts)-1 {
			place = starts[i] + behind
		}
		lines = append(slices.Clone(found[max(0, len(found)-(n-len(lines))):]), lines...)
	}
	return lines, place, nil
}

// after returns at most n lines that follow a place, and the place behind them. A
// place that is no longer there, or never was, stands for the first that is.
func (l *lineLog) after(place int64, n int) ([]string, int64, error) {
	starts, err := l.starts()
	if err != nil || len(starts) == 0 {
		return nil, place, err
	}
	last := starts[len(starts)-1]
	end, err := size(l.path(last))
	if err != nil {
		return nil, place, err
	}
	if place < starts[0] || place > last+end {
		place = starts[0]
	}
	for i, start := range starts {
		if i+1 < len(starts) && place >= starts[i+1] {
			continue
		}
		lines, behind, err := read(l.path(start), place-start, n)
		if err != nil || len(lines) > 0 || i+1 == len(starts) {
			return lines, start + behind, err
		}
		place = starts[i+1]
	}
	return nil, place, nil
}

// follow is after, but waits for a line.
func (l *lineLog) follow(ctx context.Context, place int64, n int) ([]string, int64, error) {
	for {
		grown, removed := l.growth()
		if removed {
			return nil, place, fault.New(fault.NotFound, "agent_not_found", "the agent is gone, and its log with it")
		}
		lines, behind, err := l.after(place, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the file was dropped meanwhile; there is a newer one
		}
		if len(lines) > 0 || err != nil {
			return lines, behind, err
		}
		place = behind
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, place, ctx.Err()
		}
	}
}

func size(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// read returns at most n whole lines of a file from an offset on, and the offset
// behind them.
func read(path string, from int64, n int) ([]string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, from, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, from, maxTail))
	if err != nil {
		return nil, from, err
	}
	var lines []string
	for len(lines) < n {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if !whole {
			break
		}
		lines, from, b = append(lines, string(line)), from+int64(len(line))+1, rest
	}
	return lines, from, nil
}
