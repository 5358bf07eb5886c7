package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/name"
)

const (
	defaultMaxLog = 8 << 20
	keptLogs      = 2       // besides the present one
	maxLine       = 4 << 10 // bytes; the rest of a longer line is dropped, and counted
	maxTail       = 1 << 20 // bytes that tail reads of each file
)

// lineLog is an agent's log: a file that only Deputy's user may read, put aside
// when it is full.
type lineLog struct {
	path string
	max  int64

	mu   sync.Mutex
	file *os.File
	size int64
	last string // the last line, for the reason why the agent ended
}

func openLog(dir string, max int64) (*lineLog, error) {
	if max <= 0 {
		max = defaultMaxLog
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &lineLog{path: filepath.Join(dir, "agent.log"), max: max}
	return l, l.open()
}

func (l *lineLog) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
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

// collect writes what r gives, line by line, until r ends. It goes on reading
// when the file cannot be written: an agent must not hang because a disk is full.
// The error is the first one of writing.
func (l *lineLog) collect(r io.Reader) error {
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
			if werr := l.write(text); werr != nil && first == nil {
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

func (l *lineLog) write(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = text
	entry := time.Now().UTC().Format("2006-01-02T15:04:05.000Z ") + text + "\n"
	if l.file == nil || l.size+int64(len(entry)) > l.max && l.size > 0 {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.WriteString(entry)
	l.size += int64(n)
	return err
}

func (l *lineLog) rotate() error {
	if l.file != nil {
		l.file.Close()
		l.file = nil
		for i := keptLogs; i > 0; i-- {
			if err := os.Rename(numbered(l.path, i-1), numbered(l.path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return l.open()
}

func numbered(path string, i int) string {
	if i == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", path, i)
}

func (l *lineLog) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *lineLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
}

// tail returns at most the last n lines of the logs in dir.
func tail(dir string, n int) ([]string, error) {
	lines := []string{}
	for i := 0; i <= keptLogs && len(lines) < n; i++ {
		more, err := lastLines(numbered(filepath.Join(dir, "agent.log"), i), n-len(lines))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		lines = append(more, lines...)
	}
	return lines, nil
}

func lastLines(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from := max(0, info.Size()-maxTail)
	b, err := io.ReadAll(io.NewSectionReader(f, from, maxTail))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if from > 0 || len(b) == 0 {
		lines = lines[1:] // the first one is cut, or there is none
	}
	return slices.Clone(lines[max(0, len(lines)-n):]), nil
}
