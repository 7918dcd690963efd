package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// The kernel kills a child when the thread that started it ends, so all are started on the main thread.
func init() { runtime.LockOSThread() }

// serve runs a command while one registry serves layouts, below directories separated by colons, over plain HTTP and another over TLS with basic auth
// (tester, secret). The command finds them by BIVOUAC_E2E_REGISTRY, BIVOUAC_E2E_REGISTRY_TLS (host:port each) and
// BIVOUAC_E2E_CA (a file). Both are on loopback, on ports that were free, and share their storage below scratch.
//
// Errors: an *exec.ExitError is the command's.
func serve(layouts, scratch string, command []string) (err error) {
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return err
	}
	ca, err := writeCertificates(scratch)
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	plain, err := startRegistry(scratch, "plain", "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.stop()) }()
	if err := push(layouts, plain.address); err != nil {
		return err
	}
	secure, err := startRegistry(scratch, "tls", secured(scratch))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, secure.stop()) }()
	return runWith(command,
		"BIVOUAC_E2E_REGISTRY="+plain.address, "BIVOUAC_E2E_REGISTRY_TLS="+secure.address, "BIVOUAC_E2E_CA="+ca)
}

// runWith runs a command with variables added to its environment. An interrupt from the terminal reaches the command
// itself: here it is held back until the command has ended.
func runWith(command []string, env ...string) error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT)
	defer signal.Stop(interrupts)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd.Run()
}

// secured returns the part of a registry's configuration that asks for TLS and basic auth.
func secured(dir string) string {
	return fmt.Sprintf("  tls: {certificate: '%s', key: '%s'}\nauth: {htpasswd: {realm: corpus, path: '%s'}}\n",
		filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"), filepath.Join(dir, "passwords"))
}
