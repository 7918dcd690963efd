package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
)

// fleetSize is the number of containers that are started at once.
const fleetSize = 32

// redisPort is the port of the image's own choice.
const redisPort = 6379

func (l *lab) redis() string { return l.registry + "/redis:7" }

// fleetContest starts many containers of a service at once and waits until each has answered.
func fleetContest(l *lab, c config) contest {
	return contest{
		name: "fleet", title: fmt.Sprintf("fleet: %d containers of redis:7, started at once, until each answers", fleetSize), unit: "ms", meter: clock,
		warmups: 1, rounds: c.few(), contenders: []*contender{fleetKit(l), fleetPodman(l)},
	}
}

// fleetKit has each in a network of its own, with a published port: there is no other way to have the same port for all.
func fleetKit(l *lab) *contender {
	c := overKit(l, l.redis())
	c.about = func() string { return "package testkit, each with a network of its own and a published port" }
	var fleet [fleetSize]*testkit.Container
	c.work = func() error {
		return atOnce(fleetSize, func(i int) (err error) {
			fleet[i], err = testkit.New(l.ctx, l.redis(), testkit.Ready(testkit.Port(redisPort)))
			if err != nil {
				return err
			}
			return ping(fleet[i].Addr(redisPort))
		})
	}
	c.release = func() error { return atOnce(fleetSize, func(i int) error { return closeKit(fleet[i]) }) }
	return c
}

// fleetPodman uses the host's network: to publish ports it would need a process more for each container, and more time.
func fleetPodman(l *lab) *contender {
	c := &contender{name: namePodman, tools: []string{"podman"}}
	p := &podman{lab: l}
	c.about = func() string { return p.about() + "; all on the host's network" }
	c.prepare = func() error {
		if err := p.ready(c.dir, l.redis(), func() *exec.Cmd { return p.serve(l.redis(), 0) }); err != nil {
			return err
		}
		return p.end()
	}
	var ports []int
	c.before = func() (err error) {
		ports, err = freePorts(fleetSize)
		return err
	}
	c.work = func() error {
		return atOnce(fleetSize, func(i int) error {
			if err := p.serve(l.redis(), ports[i]).Run(); err != nil {
				return fmt.Errorf("podman run --detach: %w: %s", err, l.lastLine())
			}
			return awaitPing(l, net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])))
		})
	}
	c.release, c.finish = p.end, p.end
	return c
}

// serve starts redis on a port of the host, 0 for none.
func (p *podman) serve(image string, port int) *exec.Cmd {
	return p.command("run", "--detach", "--network", "host", image, "redis-server", "--port", strconv.Itoa(port))
}

// atOnce does something n times at the same time.
func atOnce(n int, do func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// freePorts returns ports of loopback that nobody uses.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, l.Close()) }() // only once all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// pingPause is how long awaitPing rests after it was refused: not so short that waiting would slow down what is awaited.
const pingPause = 10 * time.Millisecond

// pingPatience is after how long a redis will never answer.
const pingPatience = time.Minute

// awaitPing waits until a redis answers.
func awaitPing(l *lab, address string) error {
	ctx, cancel := context.WithTimeout(l.ctx, pingPatience)
	defer cancel()
	for {
		err := ping(address)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for redis: %w", err)
		case <-time.After(pingPause):
		}
	}
}

// ping has a redis answer.
func ping(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 5)
	if _, err := c.Read(answer); err != nil {
		return err
	}
	if string(answer) != "+PONG" {
		return fmt.Errorf("redis on %s answered %q", address, answer)
	}
	return nil
}
