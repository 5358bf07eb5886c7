package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/deputy-id/deputy/internal/freeport"
)

// TestTutorial does what docs/tutorial.md says, to the letter, from an empty
// directory. The page consists of prose and of blocks:
//
//	sh        commands, which one bash runs, block by block; each must succeed
//	sh waits  the same for a command that waits for what the next block does
//	text      lines that the commands before showed, in this order; … is anything
//	browser   what a person does in a browser, who finds things by their words
//
// A block of another kind is an error: nothing on the page is not done.
func TestTutorial(t *testing.T) {
	page, err := os.ReadFile("../../docs/tutorial.md")
	must(t, err)
	s := &student{t: t, pages: []tab{openBrowser(t, "en-US")}, shell: openShell(t)}
	kinds := map[string]int{}
	for _, b := range blocksOf(t, string(page)) {
		t.Logf("line %d: %s", b.line, b.kind)
		kinds[b.kind]++
		s.line = b.line
		switch b.kind {
		case "sh":
			s.shell.run(t, b)
			s.shell.await(t, b)
		case "sh waits":
			s.shell.run(t, b)
		case "text":
			s.shell.await(t, b)
			s.compare(b)
		case "browser":
			for step := range strings.Lines(b.text) {
				s.do(strings.TrimSpace(step))
			}
		default:
			t.Fatalf("line %d: nobody knows what a block of %q is", b.line, b.kind)
		}
	}
	if kinds["sh"] < 8 || kinds["browser"] < 2 || kinds["text"] < 5 {
		t.Errorf("the page has too little to do: %v", kinds)
	}
}

// block is a part of the page that is to be done.
type block struct {
	line       int
	kind, text string
}

var fence = regexp.MustCompile("(?m)^```(.*)$")

func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	fences := fence.FindAllStringSubmatchIndex(page, -1)
	if len(fences)%2 != 0 {
		t.Fatal("a block has no end")
	}
	var blocks []block
	for i := 0; i < len(fences); i += 2 {
		begin, end := fences[i], fences[i+1]
		blocks = append(blocks, block{1 + strings.Count(page[:begin[0]], "\n"), page[begin[2]:begin[3]], strings.Trim(page[begin[1]:end[0]], "\n")})
	}
	return blocks
}

// shell is the bash of somebody who follows the page.
type shell struct {
	in      io.Writer
	lines   chan string
	running bool
	secret  string // what marks the end of a block
	shown   string // by the last commands
}

// blockTime bounds a block: the first builds of a machine take long.
const blockTime = 6 * time.Minute

func openShell(t *testing.T) *shell {
	t.Helper()
	ports, err := freeport.Find(4)
	must(t, err)
	s := &shell{lines: make(chan string), secret: "--- the block has ended ---"}
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc")
	cmd.Dir = filepath.Join("..", "..")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with everything that it starts
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopTime
	cmd.Env = append(os.Environ(), "TUTORIAL="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	for i, name := range []string{"DEPUTY_PORT", "AGENTS_PORT", "CHAT_PORT", "FEISHU_PORT"} {
		cmd.Env = append(cmd.Env, name+"="+ports[i])
		t.Setenv(name, ports[i]) // for what the page says of addresses
	}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	must(t, cmd.Start())
	s.in = in
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.lines <- lines.Text()
		}
		close(s.lines)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended
		for range s.lines {
		}
		<-read
		_ = cmd.Wait() // by the signal
	})
	// Errors end the shell, but not those of what is in the background.
	_, err = io.WriteString(in, "set -eu -o pipefail\n")
	must(t, err)
	return s
}

// run begins with a block.
func (s *shell) run(t *testing.T, b block) {
	t.Helper()
	s.shown, s.running = "", true
	_, err := fmt.Fprintf(s.in, "%s\nprintf '\\n%%s\\n' '%s'\n", b.text, s.secret)
	must(t, err)
}

// next reads a line that the block shows, and reports whether it goes on.
func (s *shell) next(t *testing.T, b block, bound <-chan time.Time) bool {
	t.Helper()
	select {
	case line, open := <-s.lines:
		if !open {
			t.Fatalf("the block before line %d failed:\n%s", b.line, s.shown)
		}
		if s.running = line != s.secret; s.running {
			s.shown += line + "\n"
		}
		return s.running
	case <-bound:
		t.Fatalf("the block before line %d does not end:\n%s", b.line, s.shown)
		return false
	}
}

// await waits for the end of the block.
func (s *shell) await(t *testing.T, b block) {
	t.Helper()
	for bound := time.After(blockTime); s.running; {
		s.next(t, b, bound)
	}
}

var address = regexp.MustCompile(`https?://\S+`)

// link waits until the block shows an address.
func (s *shell) link(t *testing.T, b block) string {
	t.Helper()
	for bound := time.After(patience); ; {
		if at := address.FindString(s.shown); at != "" {
			return at
		}
		if !s.running || !s.next(t, b, bound) {
			t.Fatalf("there is no link:\n%s", s.shown)
		}
	}
}

// student does what the page says.
type student struct {
	t     *testing.T
	line  int
	shell *shell
	pages []tab // the last one is looked at
}

// compare looks for the lines of a block in what was shown.
func (s *student) compare(b block) {
	s.t.Helper()
	rest := s.shell.shown
	for line := range strings.Lines(b.text) {
		parts := strings.Split(strings.TrimSpace(line), "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(strings.TrimSpace(parts[i]))
		}
		found := regexp.MustCompile(strings.Join(parts, ".*")).FindStringIndex(rest)
		if found == nil {
			s.t.Fatalf("line %d: %q is not shown:\n%s", b.line, strings.TrimSpace(line), s.shell.shown)
		}
		rest = rest[found[1]:]
	}
}

var steps = []struct {
	shape *regexp.Regexp
	do    func(s *student, p tab, words []string)
}{
	{regexp.MustCompile(`^open the link$`), func(s *student, p tab, _ []string) { p.do(open(s.shell.link(s.t, block{line: s.line}))) }},
	{regexp.MustCompile(`^open (\S+)$`), func(_ *student, p tab, words []string) { p.do(open(os.ExpandEnv(words[1]))) }},
	{regexp.MustCompile(`^click "(.+)" and look at the new tab$`), func(s *student, p tab, words []string) {
		s.pages = append(s.pages, p.newTab(press(words[1])))
	}},
	{regexp.MustCompile(`^click "(.+)"$`), func(_ *student, p tab, words []string) { p.again(press(words[1])) }},
	{regexp.MustCompile(`^close the tab$`), func(s *student, p tab, _ []string) {
		s.pages = s.pages[:len(s.pages)-1]
		p.close(s.pages[len(s.pages)-1])
	}},
	{regexp.MustCompile(`^write "(.+)" into "(.+)"$`), func(_ *student, p tab, words []string) {
		label := quoted(words[2])
		p.again(chromedp.SendKeys(chromedp.Search(`//*[self::input or self::textarea][@aria-label=`+label+` or @id=//label[contains(normalize-space(.), `+label+`)]/@for]`), words[1], chromedp.NodeVisible))
	}},
	{regexp.MustCompile(`^see "(.+)"$`), func(_ *student, p tab, words []string) {
		p.again(chromedp.WaitReady(chromedp.Search(`//body[contains(normalize-space(.), ` + quoted(words[1]) + `)]`)))
	}},
}

// again does a step, again if the page changed while it was looked at: who finds
// things by their words may look at a page that is about to be left.
func (p tab) again(step chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		err := chromedp.Do(ctx, step)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "-32000") { // the node is not there any more
			p.t.Fatalf("%v\n%s", err, p.shown())
		}
	}
}

// press clicks on a button or a link by its words.
func press(words string) chromedp.Action[chromedp.Void] {
	words = quoted(words)
	return chromedp.Click(chromedp.Search(`//*[self::a or self::button][contains(normalize-space(.), `+words+`) or @aria-label=`+words+`]`), chromedp.NodeVisible)
}

// quoted is a literal of XPath 1.0, which knows no escapes.
func quoted(words string) string { return `"` + strings.ReplaceAll(words, `"`, "") + `"` }

// do does one step in the browser.
func (s *student) do(step string) {
	s.t.Helper()
	for _, known := range steps {
		if words := known.shape.FindStringSubmatch(step); words != nil {
			s.t.Logf("  %s", step)
			known.do(s, s.pages[len(s.pages)-1], words)
			return
		}
	}
	s.t.Fatalf("line %d: nobody knows how to %q", s.line, step)
}
