package outbound

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
)

func TestPublicAddresses(t *testing.T) {
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "198.17.255.255",
		"223.255.255.255", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2400:3200::1", "2001:4860:4860::8888"} {
		if why := notPublic(netip.MustParseAddr(s)); why != "" {
			t.Errorf("%s is taken for %s", s, why)
		}
	}
	for _, s := range []string{"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1",
		"2001::1", "2001:db8::1", "2002:a00:1::", "2002:808:808::", "3fff::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
		"2606:4700::1%eth0", "4000::1"} {
		if notPublic(netip.MustParseAddr(s)) == "" {
			t.Errorf("%s is taken for public", s)
		}
	}
}

func TestAllowList(t *testing.T) {
	list, err := parseAllow([]string{"127.0.0.1:8083", "Sandbox.Internal:8443", "10.1.2.3", "192.168.0.0/16", "[::1]:9000", "fd00::/8", "::ffff:10.9.9.9", "localhost:080"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		target, dialed string
		plain, ok      bool
	}{
		{"127.0.0.1:8083", "127.0.0.1:8083", true, true},
		{"127.0.0.1:8083", "127.0.0.1:8083", false, true},
		{"[::ffff:127.0.0.1]:8083", "[::ffff:127.0.0.1]:8083", true, true},
		{"name.example:8083", "127.0.0.1:8083", true, true}, // it is the address that is allowed
		{"127.0.0.1:8084", "127.0.0.1:8084", true, false},
		{"sandbox.internal:8443", "10.77.0.1:8443", true, true},
		{"SANDBOX.internal.:8443", "10.77.0.1:8443", true, true},
		{"sandbox.internal:443", "10.77.0.1:443", false, false},
		{"evil.sandbox.internal:8443", "10.77.0.1:8443", true, false},
		{"localhost:80", "127.0.0.1:80", true, true},
		{"x.example:5", "10.1.2.3:5", true, true},
		{"x.example:5", "10.1.2.4:5", true, false},
		{"x.example:5", "192.168.200.1:5", true, true},
		{"x.example:5", "[::1]:9000", true, true},
		{"x.example:5", "[::1]:9001", true, false},
		{"x.example:5", "[fd12::1]:1", false, true},
		{"x.example:5", "10.9.9.9:1", false, true},
		{"x.example:443", "8.8.8.8:443", false, true},
		{"x.example:80", "8.8.8.8:80", true, false},
		{"x.example:443", "[fe80::1%eth0]:443", false, false},
		{"x.example:443", "169.254.169.254:443", false, false},
		{"x.example:443", "nonsense", false, false},
	} {
		if err := list.control(c.target, c.plain)("tcp", c.dialed, nil); (err == nil) != c.ok {
			t.Errorf("%s at %s, plain %v: %v", c.target, c.dialed, c.plain, err)
		}
	}
	none, err := parseAllow(nil)
	if err != nil {
		t.Fatal(err)
	}
	if none.control("x.example:443", false)("tcp", "127.0.0.1:443", nil) == nil {
		t.Error("loopback is allowed without being named")
	}
}

func TestBadAllowEntries(t *testing.T) {
	for entry, fix := range map[string]string{
		"":                               "write for instance",
		"sandbox":                        "write for instance",
		"sandbox:":                       "write for instance",
		":8080":                          "write for instance",
		"sandbox:0":                      "write for instance",
		"sandbox:70000":                  "write for instance",
		"sandbox:http":                   "write for instance",
		"sand box:80":                    "write for instance",
		"*:80":                           "write for instance",
		"*.internal:80":                  "write for instance",
		"http://127.0.0.1:8083":          "an address of a URL has no place here",
		"127.0.0.1:8083/":                "an address of a URL has no place here",
		"10.0.0.1/8":                     "did you mean 10.0.0.0/8 or 10.0.0.1?",
		"0.0.0.0/0":                      "name the ranges",
		"::/0":                           "name the ranges",
		"10.0.0.0/33":                    "write for instance",
		"::ffff:10.0.0.0/104":            "write for instance",
		"fe80::1%eth0":                   "write for instance",
		strings.Repeat("a", 300) + ":80": "write for instance",
	} {
		_, err := New(Config{Allow: []string{"127.0.0.1", entry}})
		if !fault.HasCode(err, "outbound_allow_invalid") || !strings.Contains(err.Error(), fix) || !strings.Contains(err.Error(), "(from --allow-outbound)") {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

func FuzzAllow(f *testing.F) {
	for _, s := range []string{"127.0.0.1:80", "[::1]:80", "10.0.0.0/8", "a.b:1", "::ffff:1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		list, err := parseAllow([]string{entry})
		if err != nil {
			return
		}
		if list.covers(netip.MustParseAddrPort("169.254.169.254:80")) && !strings.Contains(entry, "169.25") && !strings.Contains(entry, "/") && !strings.Contains(entry, "a9fe") && !strings.Contains(entry, "A9FE") {
			t.Errorf("%q allows the metadata service", entry)
		}
	})
}
