package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/kms"
	"github.com/deputy-id/deputy/internal/secret"
)

// Files looks at what Deputy keeps in its data directory.
type Files struct {
	Data        string
	RootKeyFile string // "" for root.key in Data
	RootKeySet  bool   // the key itself is in the environment
	// RootKMS is the location of a root key that a service keeps, instead; VaultToken is for that service. See package kms.
	RootKMS    string
	VaultToken secret.Text
}

// Examine reports on the files. A directory that does not exist is a note:
// the service may run on another machine.
func (f Files) Examine(ctx context.Context, tell Report) error {
	e := examination{ctx, "files", tell}
	info, err := os.Stat(f.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e.tell(Finding{Area: e.area, State: Note, Text: "there is no data directory " + f.Data + " here", Fix: "nothing, if the service runs on another machine; else start deputy serve, or name it with --data", Source: "--data"})
	case err != nil:
		return e.problem("the data directory", fault.Wrap(err, fault.Unavailable, "data_unreadable", "it cannot be looked at").WithSource("--data"))
	case info.Mode().Perm()&0o077 != 0:
		err = e.warn(fmt.Sprintf("the data directory may be read by others (mode %04o)", info.Mode().Perm()), "run: chmod 700 "+f.Data, "--data")
	default:
		err = e.fine("the data directory " + f.Data + " is there, for its owner only")
	}
	if err != nil {
		return err
	}
	return f.rootKey(e)
}

func (f Files) rootKey(e examination) error {
	if f.RootKMS != "" {
		return f.rootKMS(e)
	}
	if f.RootKeySet {
		return e.fine("the root key is in the environment")
	}
	path := f.RootKeyFile
	if path == "" {
		path = filepath.Join(f.Data, "root.key")
	}
	key, err := keys.ReadRootFile(path)
	if err != nil {
		return e.problem("the root key file "+path, fault.As(err))
	}
	key.Clear()
	return e.warnSameDisk(path, f.Data)
}

// rootKMS asks the root key's service, as deputy serve would.
func (f Files) rootKMS(e examination) error {
	root, err := kms.Open(e.ctx, f.RootKMS, kms.Access{VaultToken: f.VaultToken})
	if err == nil {
		err = kms.Probe(e.ctx, root)
	}
	if err != nil {
		return e.problem("the root key that a service keeps", fault.As(err).WithSource("--root-kms"))
	}
	return e.fine("the root key " + root.ID() + " wraps and unwraps")
}

// warnSameDisk reminds of what a backup of the directory alone would be: a
// database with the key that opens it.
func (e examination) warnSameDisk(path, data string) error {
	if filepath.Dir(path) != filepath.Clean(data) {
		return e.fine("the root key file " + path + " is readable")
	}
	return e.tell(Finding{
		Area: e.area, State: Note, Text: "the root key file " + path + " is readable, and beside the database that it opens",
		Fix: "keep a copy elsewhere: without it the database is lost, and with both a backup opens for whoever finds it", Source: "--root-key-file",
	})
}
