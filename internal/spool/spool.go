// Package spool keeps small private files that are there whole or not at all, and outlive a crash.
package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Replace writes content to path in place of what is there, readable by this
// user only. When it returns nil, content is on the disk; a reader finds the old
// content or the new, never half of one, also after a crash.
func Replace(path string, content []byte) error { return ReplaceFor(path, content, 0) }

// ReplaceFor is [Replace] for content that a group may read, too, if that is not 0.
func ReplaceFor(path string, content []byte, group int) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), unfinished+"*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	_, err = tmp.Write(content)
	if group != 0 { // before anybody finds it under its name
		err = errors.Join(err, tmp.Chown(-1, group), tmp.Chmod(0o640))
	}
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// unfinished begins the names of files that are being written.
const unfinished = ".new-"

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Spool is a directory of records, each a file of its own. It is for one process
// at a time; within that it is safe for concurrent use on different ids.
type Spool struct{ dir string }

// Open makes the directory if it is not there.
func Open(dir string) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &Spool{dir}, nil
}

var idShape = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

func (s *Spool) path(id string) (string, error) {
	if !idShape.MatchString(id) {
		return "", fmt.Errorf("spool: %q cannot name a record", id)
	}
	return filepath.Join(s.dir, id+suffix), nil
}

const suffix = ".record"

// Put keeps content under id, in place of what is there. It is durable when Put
// returns nil.
func (s *Spool) Put(id string, content []byte) error {
	path, err := s.path(id)
	if err != nil {
		return err
	}
	return Replace(path, content)
}

// Get returns what is kept under id; ok is false if that is nothing.
func (s *Spool) Get(id string) (content []byte, ok bool, err error) {
	path, err := s.path(id)
	if err != nil {
		return nil, false, err
	}
	content, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return content, err == nil, err
}

// Remove forgets id. That there is nothing is no error.
func (s *Spool) Remove(id string) error {
	path, err := s.path(id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// IDs returns the ids of all records, in order.
func (s *Spool) IDs() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), suffix); ok && idShape.MatchString(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
