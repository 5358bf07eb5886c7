package wire

import "encoding/json"

// cursor walks over a JSON document that is known to be well-formed, which
// makes it much simpler and faster than a parser: nothing that it meets can be
// wrong.
type cursor struct {
	b []byte
	i int
}

// next returns the next byte that is not white space (RFC 8259, section 2),
// without passing it; 0 at the end.
func (c *cursor) next() byte {
	for ; c.i < len(c.b); c.i++ {
		switch c.b[c.i] {
		case ' ', '\t', '\n', '\r':
		default:
			return c.b[c.i]
		}
	}
	return 0
}

// pass passes the next byte that is not white space.
func (c *cursor) pass() {
	c.next()
	c.i++
}

// more reports whether a member or element follows, passing the comma before
// it, and passes the closing delimiter if not.
func (c *cursor) more() bool {
	switch c.next() {
	case ',':
		c.i++
		return true
	case ']', '}', 0:
		c.i++
		return false
	default:
		return true
	}
}

// literal passes a string and returns it with its quotes.
func (c *cursor) literal() []byte {
	c.next()
	begin := c.i
	for c.i++; c.i < len(c.b) && c.b[c.i] != '"'; c.i++ {
		if c.b[c.i] == '\\' {
			c.i++
		}
	}
	c.i++
	return c.b[begin:min(c.i, len(c.b))]
}

// key passes the name of a member and the colon after it.
func (c *cursor) key() (string, error) {
	var key string
	raw := c.literal()
	for _, b := range raw[1:] {
		if b == '\\' {
			err := json.Unmarshal(raw, &key)
			c.pass()
			return key, err
		}
	}
	c.pass()
	return string(raw[1 : len(raw)-1]), nil
}

// skip passes a value and returns it.
func (c *cursor) skip() []byte {
	first := c.next()
	begin := c.i
	switch first {
	case '"':
		return c.literal()
	case '{', '[':
		depth := 0
		for more := true; more && c.i < len(c.b); more = depth > 0 {
			switch c.b[c.i] {
			case '"':
				c.literal()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			c.i++
		}
	default:
		for c.i < len(c.b) && !ends(c.b[c.i]) {
			c.i++
		}
	}
	return c.b[begin:c.i]
}

// ends reports whether b comes after a number, true, false or null.
func ends(b byte) bool {
	switch b {
	case ',', ']', '}', ' ', '\t', '\n', '\r':
		return true
	default:
		return false
	}
}
