package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/kms"
	"github.com/deputy-id/deputy/internal/secret"
)

// rootKey is the root key with what is to be known of where it came from.
type rootKey struct {
	keys.Root
	source string // for messages: the setting, or the file
	made   string // the file that was made for it just now; "" if none
}

// openRing finds the root key and opens the key ring with it. A root key is
// made only for a store that has no keys yet: for any other, a fresh one would
// be a wrong one.
func openRing(ctx context.Context, c Config, store keys.Store, g *guard.Guard) (*keys.Ring, error) {
	root, err := findRoot(ctx, c, store)
	if err != nil {
		return nil, err
	}
	both, err := withFormer(ctx, c, root.Root)
	if err != nil {
		return nil, err
	}
	ring, err := keys.NewRing(ctx, both, store, g, c.Now)
	if err != nil && root.made != "" {
		// Another replica gave the store its first key at the same moment. Leaving our useless file
		// behind would make the next start fail for the same reason.
		err = errors.Join(err, os.Remove(root.made))
	}
	if fault.HasCode(err, "root_key_wrong") {
		err = fault.As(err).WithSource(root.source)
	}
	return ring, err
}

// findRoot returns the root key that is chosen.
func findRoot(ctx context.Context, c Config, store keys.Store) (rootKey, error) {
	if c.RootKMS != "" {
		if c.RootKeyFile != "" || !c.RootKey.Empty() {
			return rootKey{}, twoRoots("--root-kms")
		}
		root, err := openKMS(ctx, c, c.RootKMS, "--root-kms")
		return rootKey{Root: root, source: "--root-kms"}, err
	}
	key, source, made, err := localKey(ctx, c, store)
	if err != nil {
		return rootKey{}, err
	}
	defer key.Clear()
	local, err := keys.NewLocal(key)
	found := rootKey{Root: local, source: source}
	if made {
		found.made = source
	}
	return found, err
}

func twoRoots(setting string) error {
	return fault.New(fault.Invalid, "root_key_twice", "two root keys are given").WithSource(setting).
		WithFix("leave one of them out; the one that is being replaced is given by --former-root-key-file, DEPUTY_FORMER_ROOT_KEY or --former-root-kms")
}

func openKMS(ctx context.Context, c Config, location, setting string) (keys.Root, error) {
	root, err := kms.Open(ctx, location, kms.Access{VaultToken: c.VaultToken})
	if f := fault.As(err); f != nil && f.Source == "" {
		return nil, f.WithSource(setting)
	}
	return root, err
}

// withFormer returns root together with the root key that it replaces, if one is given.
func withFormer(ctx context.Context, c Config, root keys.Root) (keys.Root, error) {
	if c.FormerRootKMS != "" {
		if c.FormerRootKeyFile != "" || !c.FormerRootKey.Empty() {
			return nil, twoRoots("--former-root-kms")
		}
		former, err := openKMS(ctx, c, c.FormerRootKMS, "--former-root-kms")
		return keys.Change{New: root, Former: former}, err
	}
	var former secret.Text
	var err error
	switch {
	case !c.FormerRootKey.Empty():
		former, err = keys.ParseRoot(c.FormerRootKey, "DEPUTY_FORMER_ROOT_KEY")
	case c.FormerRootKeyFile != "":
		former, err = keys.ReadRootFile(c.FormerRootKeyFile)
	default:
		return root, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.Wrap(err, fault.Invalid, "root_key_missing", "the former root key file does not exist").WithSource("--former-root-key-file").
			WithFix("name the file of the root key that is being replaced, or leave the setting out once deputy keys rotate --root is done")
	}
	if err != nil {
		return nil, err
	}
	defer former.Clear()
	local, err := keys.NewLocal(former)
	return keys.Change{New: root, Former: local}, err
}

// localKey returns a root key that is no service's, where it came from, and whether it was made now.
func localKey(ctx context.Context, c Config, store keys.Store) (key secret.Text, source string, made bool, err error) {
	if !c.RootKey.Empty() {
		key, err = keys.ParseRoot(c.RootKey, "DEPUTY_ROOT_KEY")
		return key, "DEPUTY_ROOT_KEY", false, err
	}
	source = c.RootKeyFile
	if source == "" {
		source = filepath.Join(c.Data, "root.key")
	}
	key, err = keys.ReadRootFile(source)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, source, false, err
	}
	if c.RootKeyFile != "" {
		return key, source, false, fault.Wrap(err, fault.Invalid, "root_key_missing", "the root key file does not exist").WithSource("--root-key-file").
			WithFix("make one with: umask 077; head -c %d /dev/urandom | base64 > %s", keys.RootSize, source)
	}
	existing, err := store.DataKeys(ctx)
	if err != nil {
		return key, source, false, err
	}
	if len(existing) > 0 {
		return key, source, false, fault.New(fault.Invalid, "root_key_missing", "the store was created with a root key, and it is not here").WithSource(source).
			WithFix("put the root key of this store there, or name it with --root-key-file, DEPUTY_ROOT_KEY or --root-kms; nothing was changed")
	}
	key, err = keys.CreateRootFile(source)
	return key, source, true, err
}
