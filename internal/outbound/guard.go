package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// allowSource is where allow-list entries come from, for messages.
const allowSource = "--allow-outbound"

// allowList is what the operator allowed in addition to public addresses over
// https.
type allowList struct {
	hosts    map[string]bool // "name:port" or "ip:port" as [net.JoinHostPort] writes it, names in lower case
	prefixes []netip.Prefix
}

// parseAllow reads entries of the form "host:port", "IP" and "CIDR".
func parseAllow(entries []string) (allowList, error) {
	list := allowList{hosts: map[string]bool{}}
	for _, entry := range entries {
		if ip, err := netip.ParseAddr(entry); err == nil && ip.Zone() == "" {
			ip = ip.Unmap()
			list.prefixes = append(list.prefixes, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		if strings.Contains(entry, "/") {
			p, err := parsePrefix(entry)
			if err != nil {
				return allowList{}, err
			}
			list.prefixes = append(list.prefixes, p)
			continue
		}
		host, port, err := net.SplitHostPort(entry)
		if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || convErr != nil || n == 0 || !hostShape(host) {
			return allowList{}, badEntry(entry, "is neither host:port nor an address nor a range",
				"write for instance 127.0.0.1:8083, keycloak.internal:8443, 10.1.2.3 or 10.1.0.0/16")
		}
		list.hosts[key(host, port)] = true
	}
	return list, nil
}

func parsePrefix(entry string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(entry)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, badEntry(entry, "is not a range of addresses", "write for instance 10.1.0.0/16 or fd00::/8; an address of a URL has no place here")
	case p != p.Masked():
		return netip.Prefix{}, badEntry(entry, "has bits set outside its prefix", "did you mean "+p.Masked().String()+" or "+p.Addr().String()+"?")
	case p.Bits() == 0:
		return netip.Prefix{}, badEntry(entry, "would allow every address", "name the ranges that are really needed")
	default:
		return p, nil
	}
}

func badEntry(entry, what, fix string) error {
	return fault.New(fault.Invalid, "outbound_allow_invalid", "%q %s", name.Clip(entry, 80), what).WithFix("%s", fix).WithSource(allowSource)
}

// hostShape reports whether host is an address or looks like a host name.
func hostShape(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	for _, c := range []byte(host) {
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_'
		if !ok {
			return false
		}
	}
	return len(host) <= 253
}

// key writes host and port in the one form that entries are looked up by.
func key(host, port string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		port = strconv.FormatUint(n, 10)
	}
	return net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), port)
}

// names reports whether target ("host:port" as the request has it) is an entry.
func (l allowList) names(target string) bool {
	host, port, err := net.SplitHostPort(target)
	return err == nil && l.hosts[key(host, port)]
}

// covers reports whether the address that is about to be dialed is an entry.
func (l allowList) covers(a netip.AddrPort) bool {
	ip := a.Addr().Unmap().WithZone("")
	if l.hosts[net.JoinHostPort(ip.String(), strconv.Itoa(int(a.Port())))] {
		return true
	}
	for _, p := range l.prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// refusal is why an address is not dialed. It travels through net.OpError to
// [Client.Do].
type refusal struct {
	addr netip.Addr
	why  string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s is %s", r.addr, r.why) }

// control returns what [net.Dialer] calls with each resolved address just
// before it connects. Only here is the address the one that is really used: a
// check before resolution can be answered with one address and the connection
// with another (DNS rebinding).
func (l allowList) control(target string, plain bool) func(network, address string, _ syscall.RawConn) error {
	named := l.names(target)
	return func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return &refusal{why: "not an address"}
		}
		if named || l.covers(a) {
			return nil
		}
		if why := notPublic(a.Addr()); why != "" {
			return &refusal{a.Addr(), why}
		}
		if plain {
			return &refusal{a.Addr(), "only to be reached over https"}
		}
		return nil
	}
}

// notPublic says what sort of address ip is if it is not one of the public
// Internet (IANA special-purpose address registries, RFC 6890), and "" if it is.
func notPublic(ip netip.Addr) string {
	ip = ip.Unmap() // ::ffff:10.0.0.1 connects to 10.0.0.1
	if ip.Zone() != "" {
		return "a link-local address"
	}
	for _, s := range special {
		if s.prefix.Contains(ip) {
			return s.what
		}
	}
	if ip.Is6() && !globalUnicast6.Contains(ip) {
		return "a reserved address"
	}
	return ""
}

var globalUnicast6 = netip.MustParsePrefix("2000::/3")

type specialRange struct {
	prefix netip.Prefix
	what   string
}

// special lists the ranges that are not public. Ranges that embed an IPv4
// address (6to4, NAT64, Teredo) are refused whole: the embedded one could be
// private. In IPv6 everything outside 2000::/3 is refused in any case; what is
// named here is named for the message.
var special = [...]specialRange{
	{netip.MustParsePrefix("0.0.0.0/8"), "an address of this host"},
	{netip.MustParsePrefix("10.0.0.0/8"), "a private address"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a carrier's private address"},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address"},
	{netip.MustParsePrefix("172.16.0.0/12"), "a private address"},
	{netip.MustParsePrefix("192.0.0.0/24"), "a reserved address"},
	{netip.MustParsePrefix("192.0.2.0/24"), "an address for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), "a private address"},
	{netip.MustParsePrefix("198.18.0.0/15"), "an address for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "an address for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "an address for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address"},
	{netip.MustParsePrefix("::/128"), "an address of this host"},
	{netip.MustParsePrefix("::1/128"), "a loopback address"},
	{netip.MustParsePrefix("64:ff9b::/96"), "a NAT64 address"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a NAT64 address"},
	{netip.MustParsePrefix("2001::/23"), "a reserved address"},
	{netip.MustParsePrefix("2001:db8::/32"), "an address for documentation"},
	{netip.MustParsePrefix("2002::/16"), "a 6to4 address"},
	{netip.MustParsePrefix("3fff::/20"), "an address for documentation"},
	{netip.MustParsePrefix("fc00::/7"), "a unique local address"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
}
