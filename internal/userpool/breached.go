package userpool

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the published list is of SHA-1 hashes; nothing rests on their strength
	_ "embed"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// commonPasswords is a list of the commonest, sorted, in lower case; lines that
// begin with '#' tell about it.
//
//go:embed common.txt
var commonPasswords string

// Breached knows passwords that others have lost: a short list of the commonest
// that is always there and, if the operator has it, the list that Have I Been
// Pwned publishes. Nothing is asked over the network.
type Breached struct {
	common []string
	file   *hashFile // nil: none
}

// NewBreached returns the list. file, unless empty, is the path of a file of
// SHA-1 hashes in hexadecimal, sorted, one a line, each with anything after a
// colon (the "ordered by hash" download). It is never read as a whole.
func NewBreached(file string) (*Breached, error) {
	var b Breached
	for line := range strings.Lines(commonPasswords) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			b.common = append(b.common, line)
		}
	}
	if file == "" {
		return &b, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "breached_file_unreadable", "the list of breached passwords cannot be read").WithSource("--breached-passwords")
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil {
		b.file = &hashFile{f, info.Size()}
		_, err = b.file.has(strings.Repeat("8", sha1.Size*2)) // proves that it is such a list
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, fault.Wrap(err, fault.Invalid, "breached_file_invalid", "the list of breached passwords is not one of sorted SHA-1 hashes").
			WithSource("--breached-passwords").WithFix(`give the "ordered by hash" file of Have I Been Pwned`)
	}
	return &b, nil
}

// Close gives the file back.
func (b *Breached) Close() error {
	if c, ok := b.reader().(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (b *Breached) reader() io.ReaderAt {
	if b.file == nil {
		return nil
	}
	return b.file.r
}

// Has reports whether the password is on a list. The error is about the file.
func (b *Breached) Has(password secret.Text) (bool, error) {
	if _, found := slices.BinarySearch(b.common, strings.ToLower(password.RevealString())); found {
		return true, nil
	}
	if b.file == nil {
		return false, nil
	}
	sum := sha1.Sum(password.Reveal()) //nolint:gosec // see the import
	found, err := b.file.has(strings.ToUpper(hex.EncodeToString(sum[:])))
	if err != nil {
		return false, fault.Wrap(err, fault.Unavailable, "breached_file_unreadable", "the list of breached passwords cannot be read")
	}
	return found, nil
}

// hashFile is a file of sorted lines that begin with a SHA-1 hash.
type hashFile struct {
	r    io.ReaderAt
	size int64
}

// maxHashLine bounds a line: a hash, a colon, a count.
const maxHashLine = 128

var errHashFile = errors.New("a line is not a SHA-1 hash in hexadecimal")

// has reports whether hash, in upper case, begins a line, by binary search over
// the file's bytes: about 36 reads for a billion lines.
func (f *hashFile) has(hash string) (bool, error) {
	low, high := int64(0), f.size // the line, if there is one, begins in [low, high)
	for low < high {
		middle := low + (high-low)/2
		begin, line, err := f.lineAt(middle)
		if err != nil {
			return false, err
		}
		switch {
		case begin >= high: // no line begins in the upper half
			high = middle
		case line == hash:
			return true, nil
		case line < hash:
			low = begin + 1
		default:
			high = middle
		}
	}
	return false, nil
}

// lineAt returns the first line that begins at or after the offset, and where.
// After the last line it returns the file's size.
func (f *hashFile) lineAt(offset int64) (begin int64, hash string, err error) {
	var buf [2*maxHashLine + 1]byte
	from := max(0, offset-1) // whether the byte before ends a line says whether one begins here
	n, err := f.r.ReadAt(buf[:min(int64(len(buf)), f.size-from)], from)
	if err != nil && (!errors.Is(err, io.EOF) || int64(n) < min(int64(len(buf)), f.size-from)) {
		return 0, "", err
	}
	b := buf[:n]
	if offset > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			if from+int64(n) < f.size {
				return 0, "", errHashFile
			}
			return f.size, "", nil
		}
		from, b = from+int64(end)+1, b[end+1:]
	}
	if len(b) == 0 {
		return f.size, "", nil
	}
	if len(b) < sha1.Size*2 {
		return 0, "", errHashFile
	}
	hash = strings.ToUpper(string(b[:sha1.Size*2]))
	if _, err := hex.DecodeString(hash); err != nil {
		return 0, "", errHashFile
	}
	return from, hash, nil
}
