package server

import (
	"io"
	"os"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// maxVendors bounds the operator's file of vendors in bytes.
const maxVendors = 1 << 20

// vendors returns the built-in catalogue with what the operator's file adds to
// it or changes in it; path "" adds nothing.
func vendors(path string) (vendor.Catalogue, error) {
	catalogue, err := vendor.Builtin()
	if err != nil || path == "" {
		return catalogue, err
	}
	f, err := os.Open(path)
	if err != nil {
		return vendor.Catalogue{}, fault.Wrap(err, fault.Invalid, "vendors_unreadable", "the file of vendors %s cannot be read", path).WithSource("--vendors")
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxVendors+1))
	if err != nil {
		return vendor.Catalogue{}, fault.Wrap(err, fault.Invalid, "vendors_unreadable", "the file of vendors %s cannot be read", path).WithSource("--vendors")
	}
	catalogue, err = catalogue.With(b)
	if err != nil {
		why := fault.As(err)
		return vendor.Catalogue{}, fault.Wrap(err, why.Kind, why.Code, "%s: %s", path, why.Message).WithSource("--vendors").WithFix("%s", why.Fix)
	}
	return catalogue, nil
}
