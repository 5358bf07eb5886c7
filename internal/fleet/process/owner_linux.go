package process

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
)

// owns returns a fault of kind Conflict if a process outside the group listens
// at the agent's port. The port was free when it was chosen, but the agent opens
// it later: whoever was faster would get the agent's requests, with the tokens in
// them. Where /proc does not tell, it returns nil.
func (p *prober) owns(pgid int) error {
	sockets := listeners(p.port)
	p.mu.Lock()
	known := slices.Equal(sockets, p.verified)
	p.mu.Unlock()
	if len(sockets) == 0 || known {
		return nil
	}
	held := groupSockets(pgid)
	for _, inode := range sockets {
		if !held[inode] {
			return fault.New(fault.Conflict, "port_taken", "another process listens at the agent's port %d", p.port).
				WithFix("an agent must listen on $PORT itself, in the process that was started or a child of it")
		}
	}
	p.mu.Lock()
	p.verified = sockets
	p.mu.Unlock()
	return nil
}

// listeners returns the inodes of the TCP sockets that listen at port, on any
// address, sorted.
func listeners(port int) []string {
	var inodes []string
	suffix := fmt.Sprintf(":%04X", port)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
			field := strings.Fields(lines.Text())
			if len(field) > 9 && strings.HasSuffix(field[1], suffix) && field[3] == "0A" {
				inodes = append(inodes, field[9])
			}
		}
		f.Close()
	}
	slices.Sort(inodes)
	return inodes
}

// groupSockets returns the inodes of all sockets that processes of the group
// hold.
func groupSockets(pgid int) map[string]bool {
	held := map[string]bool{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (command) state ppid pgrp …; the command may hold anything
		field := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(field) < 3 || field[2] != strconv.Itoa(pgid) {
			continue
		}
		fds := filepath.Join(filepath.Dir(path), "fd")
		entries, _ := os.ReadDir(fds)
		for _, e := range entries {
			target, _ := os.Readlink(filepath.Join(fds, e.Name()))
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				held[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	return held
}
