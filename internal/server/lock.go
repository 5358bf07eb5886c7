package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/spool"
)

// lockData makes this process the only one that uses the data directory. The
// lock ends with the process, however that ends.
func lockData(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "data_unwritable", "nothing can be written to the data directory %s", dir).
			WithSource("--data").WithFix("check its owner and rights")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.New(fault.Conflict, "data_in_use", "another deputy uses the data directory %s", dir).
				WithSource("--data").WithFix("stop it, or choose another directory")
		}
		return nil, fault.Wrap(err, fault.Unavailable, "data_unlockable", "the data directory %s cannot be locked", dir).WithSource("--data")
	}
	return func() { _ = f.Close() }, nil // closing ends the lock; nothing was written
}

// replicaID returns who serves from a data directory, the same after each start,
// whatever its machine is called.
func replicaID(dir string) (string, error) {
	path := filepath.Join(dir, "replica")
	id, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id = []byte(name.NewID("replica"))
		err = spool.Replace(path, id)
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "data_unwritable", "the replica's name in %s can be neither read nor written", path).WithSource("--data")
	}
	return strings.TrimSpace(name.Clip(string(id), 100)), nil
}
