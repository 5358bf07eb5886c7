package process

import (
	"net"

	"github.com/deputy-id/deputy/internal/fault"
)

// takePort returns a port of the loopback interface that is free now and not
// promised to another agent. Between now and the moment when the agent listens,
// somebody else may take it: instance.Probe notices.
func (d *Driver) takePort() (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, fault.Wrap(err, fault.Unavailable, "agent_port", "no port is free for the agent")
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return 0, fault.Wrap(err, fault.Unavailable, "agent_port", "no port is free for the agent")
		}
		if !d.ports[port] {
			if d.ports == nil {
				d.ports = map[int]bool{}
			}
			d.ports[port] = true
			return port, nil
		}
	}
	return 0, fault.New(fault.Unavailable, "agent_port", "no port is free for the agent")
}

func (d *Driver) givePort(port int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ports, port)
}
