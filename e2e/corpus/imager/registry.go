package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
)

// A registry is a running docker-registry.
type registry struct {
	address string // host:port
	cmd     *exec.Cmd
	drained chan struct{}
}

const registryConfig = `version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: '%s'}
  delete: {enabled: true}
  cache: {blobdescriptor: inmemory}
http:
  addr: 127.0.0.1:0
%s`

// listening is what docker-registry logs once it has its port.
var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// startRegistry starts a registry with its configuration and log in dir. It dies with this process.
func startRegistry(dir, name, config string) (*registry, error) {
	file := filepath.Join(dir, name+".yml")
	text := fmt.Sprintf(registryConfig, filepath.Join(dir, "storage"), config)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("docker-registry", "serve", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // an interrupt is not for it
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start registry (Debian's package docker-registry): %w", err)
	}
	r := &registry{cmd: cmd, drained: make(chan struct{})}
	if err := r.awaitAddress(stderr, filepath.Join(dir, name+".log")); err != nil {
		return nil, err
	}
	return r, nil
}

// awaitAddress reads the log up to the line that tells the port, and has the rest copied to a file.
func (r *registry) awaitAddress(stderr io.Reader, path string) error {
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	lines := bufio.NewReader(io.TeeReader(stderr, log))
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("start registry: it ended: %w; its log is %s", r.cmd.Wait(), path)
		}
		if match := listening.FindStringSubmatch(line); match != nil {
			r.address = match[1]
			break
		}
	}
	go func() {
		defer close(r.drained)
		_, _ = io.Copy(io.Discard, lines) // ends with the registry
		_ = log.Close()
	}()
	return nil
}

// stop ends the registry.
func (r *registry) stop() error {
	if err := r.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("stop registry: %w", err)
	}
	<-r.drained
	_ = r.cmd.Wait() // says that it was killed
	return nil
}
