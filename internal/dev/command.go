package dev

import (
	"context"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// commandGrace is how long the command has to end when it was asked to.
const commandGrace = 10 * time.Second

// command runs the agent's command in the developer's terminal until it ends. When
// ctx is done it is asked to end, and made to after a while.
func (d *dev) command(ctx context.Context, w world, environment map[string]string) error {
	running, stop := context.WithCancel(ctx)
	var telling sync.WaitGroup
	defer telling.Wait()
	defer stop()
	telling.Go(func() { d.tellAgents(running, w) })
	cmd := exec.CommandContext(ctx, d.Command[0], d.Command[1:]...)
	cmd.Dir, cmd.Env = d.Dir, append(d.Environment, asList(environment)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = d.In, d.Out, d.ErrOut
	// It stays in the terminal's process group, so that Ctrl-C reaches it, too.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = commandGrace
	err := cmd.Run()
	if err != nil && ctx.Err() == nil {
		return failed(err)
	}
	return nil
}
