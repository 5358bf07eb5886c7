package demo

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/spool"
	"github.com/deputy-id/deputy/internal/wire"
)

// state is what must stay the same when the demo runs again with the same data:
// what Deputy keeps only as hashes, and sealed. It is in DATA/demo.json, for its
// owner only. The values are strings because they are written there.
type state struct {
	Users        map[string]string `json:"users"`        // password by user name
	ClientSecret string            `json:"clientSecret"` // of the chat application
	AppSecret    string            `json:"appSecret"`    // of Deputy's app at the sandbox

	path string
}

const maxState = 64 << 10

// loadState reads the state, or begins a new one.
func loadState(data string) (*state, error) {
	s := &state{Users: map[string]string{}, path: filepath.Join(data, "demo.json")}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.AppSecret = rand.Text()
		return s, s.save()
	}
	if err != nil {
		return nil, unwritable(err)
	}
	defer f.Close() // only read
	if err := wire.Decode(f, maxState, s); err != nil {
		return nil, fault.As(err).WithSource(s.path).WithFix("use another --data directory, or delete this one")
	}
	if s.Users == nil || s.AppSecret == "" {
		return nil, fault.New(fault.Invalid, "demo_state_malformed", "the demo's state is not complete").WithSource(s.path).
			WithFix("use another --data directory, or delete this one")
	}
	return s, nil
}

// save writes the state. It is called before what the state tells about is done:
// a password that is known and unused does less harm than one that is used and
// lost.
func (s *state) save() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writePrivate(s.path, append(b, '\n'))
}

// writePrivate replaces a file that only its owner may read, whole or not at
// all.
func writePrivate(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return unwritable(err)
	}
	if err := spool.Replace(path, content); err != nil {
		return unwritable(err)
	}
	return nil
}

// newPassword returns a password of 120 random bits that can be read out and
// typed.
func newPassword() string {
	text := strings.ToLower(rand.Text())[:24]
	return text[:6] + "-" + text[6:12] + "-" + text[12:18] + "-" + text[18:]
}
