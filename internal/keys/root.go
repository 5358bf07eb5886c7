package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// Root wraps data keys. The local one holds its key in memory; those of package
// kms ask a service. Implementations must bind the context: a key wrapped under one
// context must not unwrap under another.
type Root interface {
	// ID names the key that Wrap uses. It is no secret, has no "#" in it, and differs from that of every other key.
	ID() string
	// Wrap returns the wrapped key and which version of the root key wraps it; "" if that has no versions. An error is
	// of kind Unavailable if the root could not be asked, or refused.
	Wrap(ctx context.Context, context, key []byte) (wrapped []byte, version string, err error)
	// Unwrap returns an error when wrapped was not made by this root under this
	// context; it is of kind Unavailable if the root could not be asked, or refused.
	Unwrap(ctx context.Context, context, wrapped []byte) ([]byte, error)
}

// Change is the root key while it is being changed: it wraps with the new one
// and unwraps what either has wrapped.
type Change struct{ New, Former Root }

// ID implements [Root].
func (c Change) ID() string { return c.New.ID() }

// Wrap implements [Root].
func (c Change) Wrap(ctx context.Context, context, key []byte) (wrapped []byte, version string, err error) {
	return c.New.Wrap(ctx, context, key)
}

// Unwrap implements [Root].
func (c Change) Unwrap(ctx context.Context, context, wrapped []byte) ([]byte, error) {
	plain, err := c.New.Unwrap(ctx, context, wrapped)
	if err == nil {
		return plain, nil
	}
	plain, errFormer := c.Former.Unwrap(ctx, context, wrapped)
	if errFormer == nil {
		return plain, nil
	}
	if fault.Is(errFormer, fault.Unavailable) { // then whether it opens is not known, whatever the new one said
		return nil, errors.Join(errFormer, err)
	}
	return nil, errors.Join(err, errFormer)
}

// RootSize is the size of a local root key in bytes (AES-256).
const RootSize = 32

// Local is a root key held in this process.
type Local struct {
	aead cipher.AEAD
	id   string
}

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
	// The id is derived as a key would be: it tells nothing of the root key.
	id, err := hkdf.Key(sha256.New, key.Reveal(), nil, "deputy/root/id/1", 8)
	if err != nil {
		return nil, err
	}
	return &Local{aead, "local:" + hex.EncodeToString(id)}, nil
}

// ID implements [Root].
func (l *Local) ID() string { return l.id }

// Wrap implements [Root].
func (l *Local) Wrap(_ context.Context, context, key []byte) (wrapped []byte, version string, err error) {
	return l.aead.Seal(nil, nil, key, context), "", nil
}

// Unwrap implements [Root].
func (l *Local) Unwrap(_ context.Context, context, wrapped []byte) ([]byte, error) {
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
