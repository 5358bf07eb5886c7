package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// Root wraps data keys. The local one holds its key in memory; a KMS would ask
// its service. Implementations must bind the context: a key wrapped under one
// context must not unwrap under another.
type Root interface {
	Wrap(context, key []byte) ([]byte, error)
	// Unwrap returns an error when wrapped was not made by this root under this context.
	Unwrap(context, wrapped []byte) ([]byte, error)
}

// RootSize is the size of a local root key in bytes (AES-256).
const RootSize = 32

// Local is a root key held in this process.
type Local struct{ aead cipher.AEAD }

// NewLocal returns the root with the given key of [RootSize] bytes.
func NewLocal(key secret.Text) (*Local, error) {
	if len(key.Reveal()) != RootSize {
		return nil, fault.New(fault.Invalid, "root_key_invalid", "the root key has %d bytes instead of %d", len(key.Reveal()), RootSize)
	}
	block, err := aes.NewCipher(key.Reveal())
	if err != nil {
		return nil, err
	}
	// Random 96-bit nonces are safe here: a root wraps a few data keys per pool,
	// far from the 2³² messages that NIST SP 800-38D allows for one key.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Local{aead}, nil
}

// Wrap implements [Root].
func (l *Local) Wrap(context, key []byte) ([]byte, error) {
	return l.aead.Seal(nil, nil, key, context), nil
}

// Unwrap implements [Root].
func (l *Local) Unwrap(context, wrapped []byte) ([]byte, error) {
	return l.aead.Open(nil, nil, wrapped, context)
}

// ParseRoot decodes a root key from its text form, base64 of 32 bytes; source
// names where the text came from, for the error.
func ParseRoot(text secret.Text, source string) (secret.Text, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text.RevealString()))
	if err != nil || len(key) != RootSize {
		// The decoder's error would quote a byte of the key: it is left out.
		return secret.Text{}, fault.New(fault.Invalid, "root_key_invalid", "the root key is not base64 of %d bytes", RootSize).
			WithSource(source).WithFix("make one with: head -c %d /dev/urandom | base64", RootSize)
	}
	return secret.New(key), nil
}

// ReadRootFile reads a root key from a file that only its owner may read.
// A missing file is an error that wraps [fs.ErrNotExist].
func ReadRootFile(path string) (secret.Text, error) {
	info, err := os.Stat(path)
	if err != nil {
		return secret.Text{}, fmt.Errorf("keys: root key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return secret.Text{}, fault.New(fault.Invalid, "root_key_exposed", "the root key file may be read by others (mode %04o)", mode).
			WithSource(path).WithFix("run: chmod 600 %s", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return secret.Text{}, fmt.Errorf("keys: root key file: %w", err)
	}
	return ParseRoot(secret.New(b), path)
}

// CreateRootFile makes a fresh root key in a new 0600 file. It never replaces a
// file: a root key that is overwritten is a store that is lost.
func CreateRootFile(path string) (secret.Text, error) {
	key := make([]byte, RootSize)
	_, _ = rand.Read(key) // never fails (crypto/rand, since Go 1.24)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return secret.Text{}, fault.Wrap(err, fault.Conflict, "root_key_exists", "there is a root key file already").WithSource(path)
	}
	if err != nil {
		return secret.Text{}, fault.Wrap(err, fault.Unavailable, "root_key_unwritable", "the root key file cannot be created").
			WithSource(path).WithFix("check that the directory exists and is writable")
	}
	_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString(key))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return secret.Text{}, fault.Wrap(err, fault.Unavailable, "root_key_unwritable", "the root key file cannot be written").WithSource(path)
	}
	return secret.New(key), nil
}

// syncDir makes the directory entry durable: without it, a crash could keep
// the store and lose the key that opens it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
