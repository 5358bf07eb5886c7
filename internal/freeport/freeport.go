// Package freeport finds ports for programs that tests start: below those that systems hand out by themselves, so that no other test's server gets one meanwhile.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports from 32768 on are handed out by Linux, from 49152 on by macOS.
const lowest, count = 10000, 22000

// Find returns n ports of loopback, at random, that nobody listens at.
func Find(n int) ([]string, error) {
	var ports []string
	for range 100 * n {
		if len(ports) == n {
			return ports, nil
		}
		port := strconv.Itoa(lowest + rand.IntN(count))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }() // all at the end, so that no port comes twice
		ports = append(ports, port)
	}
	return nil, errors.New("a hundred ports were tried for each that is wanted, and too few were free")
}
