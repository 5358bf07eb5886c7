package factor

import (
	"fmt"
	"strings"

	"rsc.io/qr"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
)

// QR returns the QR code of text as a drawing: the length of a side in modules
// with the quiet zone of four that the standard wants, and an SVG path that
// covers the dark ones.
func QR(text secret.Text) (side int, path string, err error) {
	const quiet = 4
	drawn, err := qr.Encode(text.RevealString(), qr.M)
	if err != nil {
		return 0, "", fault.Wrap(err, fault.Internal, "qr_failed", "the QR code cannot be drawn")
	}
	var b strings.Builder
	for y := range drawn.Size {
		for x := 0; x < drawn.Size; x++ {
			run := x
			for drawn.Black(x, y) { // outside, all is white
				x++
			}
			if x > run {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", run+quiet, y+quiet, x-run, x-run)
			}
		}
	}
	return drawn.Size + 2*quiet, b.String(), nil
}
