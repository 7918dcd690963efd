package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/bivouac-run/bivouac/sandbox"
)

// A service is one of the corpus's images that answer over TCP.
type service struct {
	name  string // without the tag, which contests are called by
	image string // in the corpus's registry
	env   map[string]string
	args  []string // in place of the image's
	port  uint16
	// ask has it answer once over a connection.
	ask func(net.Conn) error
	// slow tells that its image is built for the benchmark alone, and that it starts slowly.
	slow bool
}

const (
	redisName    = "redis"
	nginxName    = "nginx"
	nodeName     = "node"
	javaName     = "java-indexed"
	postgresName = "postgres"
	rabbitName   = "rabbitmq"
)

// services are what is checkpointed.
var services = []service{
	{name: redisName, image: "redis:7", port: redisPort, ask: askRedis},
	{name: nginxName, image: "nginx:latest", port: 80, ask: askHTTP("/1k", "")},
	{name: nodeName, image: "node:18", port: 8080, ask: askHTTP("/", "hello from node")},
	{name: "java", image: "java:17", port: 8080, ask: askHTTP("/", "hello from java")},
	{name: javaName, image: "java:17", port: 8080, ask: askHTTP("/", "hello from java"),
		args: []string{"java", "-Xmx128m", "-Dsun.net.httpserver.nodelay=true", "-cp", "/srv", "Service", "100000"}},
	{name: "go", image: "go:latest", port: 8080, ask: askHTTP("/", "hello from go")},
	{name: "python", image: "python:3", port: 8080, ask: askHTTP("/", "hello from python")},
	{name: postgresName, image: "postgres:15", port: 5432, ask: askPostgres, env: map[string]string{"POSTGRES_HOST_AUTH_METHOD": "trust"}},
	{name: rabbitName, image: "rabbitmq:3", port: 5672, ask: askAMQP, slow: true},
}

// serviceNamed is one of services.
func serviceNamed(name string) service {
	for _, s := range services {
		if s.name == name {
			return s
		}
	}
	panic("bug: no service is called " + name)
}

// services leaves out the slow ones unless they were asked for.
func (c config) services() (all []service) {
	for _, s := range services {
		if c.slow || !s.slow {
			all = append(all, s)
		}
	}
	return all
}

func (s service) reference(l *lab) string { return l.registry + "/" + s.image }

// spec has it in a network of its own, with a published port.
func (s service) spec(l *lab) sandbox.Spec {
	var env []string
	for name, value := range s.env {
		env = append(env, name+"="+value)
	}
	return sandbox.Spec{Image: s.reference(l), Env: env, Args: s.args, Publish: []sandbox.PortMapping{{Port: s.port}}}
}

// address is that of the container's published port.
func address(ct *sandbox.Container) (string, error) {
	if len(ct.Ports) == 0 {
		return "", errors.New("the container has no published port")
	}
	p := ct.Ports[0]
	return net.JoinHostPort(p.HostIP, strconv.Itoa(int(p.HostPort))), nil
}

// askTimeout is after how long an answer will never come.
const askTimeout = time.Minute

// query has the service answer once through its published port.
func (s service) query(ct *sandbox.Container) error {
	to, err := address(ct)
	if err != nil {
		return err
	}
	return s.queryAt(to)
}

func (s service) queryAt(address string) error {
	c, err := net.DialTimeout("tcp", address, askTimeout)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	if err := s.ask(c); err != nil {
		return fmt.Errorf("ask %s: %w", s.name, err)
	}
	return nil
}

// askPause is how long awaitAnswer rests where a service listens but does not answer yet: not so short that waiting would
// slow it down.
const askPause = 5 * time.Millisecond

// awaitAnswer returns when the service has answered for the first time.
func (s service) awaitAnswer(l *lab, ct *sandbox.Container) error {
	for deadline := time.Now().Add(askTimeout); ; {
		err := s.query(ct)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if err := ct.AwaitListening(l.ctx, "tcp", s.port); err != nil {
			return err
		}
		if err = s.query(ct); err == nil {
			return nil
		}
		time.Sleep(askPause)
	}
}
