package cli

import (
	"io"
	"os"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// maxSecretFile bounds a file with a secret, in bytes.
const maxSecretFile = 4 << 10

// readSecret reads a secret from a file, or from standard input if that is "-".
// flag is where the path came from. A line break at the end is not part of it.
func readSecret(path, flag string) (secret.Text, error) {
	in := io.ReadCloser(os.Stdin)
	if path != "-" {
		var err error
		if in, err = os.Open(path); err != nil {
			return secret.Text{}, fault.Wrap(err, fault.Invalid, "secret_file_unreadable", "the secret cannot be read").WithSource(flag)
		}
		defer in.Close() // only read
	}
	b, err := wire.ReadAll(in, maxSecretFile)
	if err != nil {
		return secret.Text{}, fault.Wrap(err, fault.Invalid, "secret_file_unreadable", "the secret cannot be read").WithSource(flag)
	}
	return secret.FromString(strings.TrimRight(string(b), "\r\n")), nil
}
