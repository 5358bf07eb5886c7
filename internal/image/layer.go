package image

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// The bounds of an agent's folder.
const (
	maxFiles = 50_000
	maxBytes = 1 << 30
)

// layer is a tar file whose entries say nothing but their content: no times, no
// owners, no modes but "may be executed".
type layer struct {
	file *os.File
	tar  *tar.Writer
	made map[string]bool // directories
	n    int
	size int64
}

func newLayer(path string) (*layer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &layer{file: f, tar: tar.NewWriter(f), made: map[string]bool{".": true}}, nil
}

func (l *layer) close() error { return errors.Join(l.tar.Close(), l.file.Close()) }

func (l *layer) header(h tar.Header) error {
	h.ModTime, h.Format = time.Unix(0, 0), tar.FormatPAX
	return l.tar.WriteHeader(&h)
}

// directory adds a directory and those above it, once.
func (l *layer) directory(at string) error {
	if l.made[at] {
		return nil
	}
	if err := l.directory(path.Dir(at)); err != nil {
		return err
	}
	l.made[at] = true
	return l.header(tar.Header{Typeflag: tar.TypeDir, Name: at + "/", Mode: 0o755})
}

// add copies a regular file into the layer.
func (l *layer) add(at, from string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	l.n, l.size = l.n+1, l.size+info.Size()
	if l.n > maxFiles || l.size > maxBytes {
		return fault.New(fault.TooLarge, "image_too_large", "the agent's folder has more than %d files or %d bytes", maxFiles, maxBytes).
			WithFix("keep data elsewhere, and virtual environments outside the folder")
	}
	if err := l.directory(path.Dir(at)); err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.header(tar.Header{Typeflag: tar.TypeReg, Name: at, Mode: mode, Size: info.Size()}); err != nil {
		return err
	}
	if _, err := io.CopyN(l.tar, f, info.Size()); err != nil {
		return fault.Wrap(err, fault.Conflict, "image_file_changed", "%s changes while it is read", name.Clip(at, 200))
	}
	return nil
}

// skipped are names that do not belong into an image: what holds secrets, what is
// made again, and what is about the folder.
func skipped(base string) bool {
	switch base {
	case ".git", ".hg", ".svn", ".venv", "venv", "__pycache__", ".agentkit", ".DS_Store", "agentkit.yaml":
		return true
	}
	return base == ".env" || strings.HasPrefix(base, ".env.")
}

// tree adds all files below root under at, in the order of their names, but those
// with a name that is to be skipped. Links stay what they are if they lead to
// something of the folder.
func (l *layer) tree(at, root string, skip func(base string) bool) error {
	return filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, file)
		if err != nil || inside == "." {
			return err
		}
		inside = filepath.ToSlash(inside)
		switch {
		case skip(e.Name()) && e.IsDir():
			return filepath.SkipDir
		case skip(e.Name()):
			return nil
		case e.IsDir():
			return l.directory(path.Join(at, inside))
		case e.Type() == fs.ModeSymlink:
			return l.link(at, inside, file)
		case !e.Type().IsRegular():
			return fault.New(fault.Invalid, "image_file", "%s is neither a file nor a directory", name.Clip(inside, 200)).WithFix("remove it from the agent's folder")
		}
		return l.add(path.Join(at, inside), file)
	})
}

func (l *layer) link(at, inside, file string) error {
	to, err := os.Readlink(file)
	if err != nil {
		return err
	}
	if leads := path.Join(path.Dir(inside), filepath.ToSlash(to)); filepath.IsAbs(to) || leads == ".." || strings.HasPrefix(leads, "../") {
		return fault.New(fault.Invalid, "image_link", "%s is a link out of the agent's folder", name.Clip(inside, 200)).WithFix("copy what it leads to, or remove it")
	}
	if err := l.directory(path.Dir(path.Join(at, inside))); err != nil {
		return err
	}
	l.n++
	return l.header(tar.Header{Typeflag: tar.TypeSymlink, Name: path.Join(at, inside), Linkname: filepath.ToSlash(to), Mode: 0o777})
}
