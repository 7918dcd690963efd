package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestFlagsOfKeptContainers(t *testing.T) {
	labels := filepath.Join(t.TempDir(), "labels")
	if err := os.WriteFile(labels, []byte("# none\na=file\nb=file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := mustParseRun(t, "--name", "x", "-i", "--restart", "on-failure:3", "--stop-timeout", "-1", "--log-opt", "max-size=1m", "--log-opt", "max-file=3",
		"--log-opt", "labels=a,b", "--log-opt", "env=C", "--add-host", "db:10.0.0.1", "--add-host", "six=[::1]", "--group-add", "audio", "--expose", "80",
		"--expose", "90-92/UDP", "--shm-size", "1g", "--volumes-from", "data:ro", "--label-file", labels, "-l", "a=flag", "alpine")
	forever := -1
	want := &sandbox.Spec{
		Image: "alpine", Args: []string{}, Name: "x", Keep: true, Listed: true, Monitor: true, Network: sandbox.NetworkNone, Get: sandbox.ImageOptions{Pull: sandbox.PullMissing},
		OpenStdin: true, StdinOnce: true, Restart: sandbox.RestartPolicy{Name: sandbox.RestartOnFailure, MaxRetries: 3}, StopTimeout: &forever,
		Log:        sandbox.LogOptions{MaxSize: 1 << 20, MaxFiles: 3, Labels: []string{"a", "b"}, Env: []string{"C"}},
		ExtraHosts: []string{"db:10.0.0.1", "six:::1"}, GroupAdd: []string{"audio"}, Expose: []string{"80/tcp", "90-92/udp"}, ShmSize: 1 << 30,
		VolumesFrom: []string{"data:ro"}, Labels: map[string]string{"a": "flag", "b": "file"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestHealthFlags(t *testing.T) {
	got := mustParseRun(t, "--health-cmd", "test -e /ok", "--health-interval", "2s", "--health-timeout", "1s", "--health-retries", "4",
		"--health-start-period", "3s", "--health-start-interval", "100ms", "alpine").Health
	want := &sandbox.Healthcheck{
		Test: []string{"CMD-SHELL", "test -e /ok"}, Interval: 2 * time.Second, Timeout: time.Second, Retries: 4, StartPeriod: 3 * time.Second,
		StartInterval: 100 * time.Millisecond,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := mustParseRun(t, "--no-healthcheck", "alpine").Health; !reflect.DeepEqual(got, &sandbox.Healthcheck{Test: []string{"NONE"}}) {
		t.Errorf("got %+v", got)
	}
	if got := mustParseRun(t, "alpine").Health; got != nil {
		t.Errorf("got %+v", got)
	}
	refuseRun(t, []string{"--no-healthcheck", "--health-cmd", "x", "alpine"}, "--no-healthcheck")
	refuseRun(t, []string{"--health-interval", "1us", "alpine"}, "--health-interval", "millisecond")
	refuseRun(t, []string{"--health-retries", "-1", "alpine"}, "--health-retries")
}

func TestRefusedValues(t *testing.T) {
	for _, args := range [][]string{
		{"--restart", "sometimes"}, {"--restart", "always:3"}, {"--restart", "on-failure:x"}, {"--restart", "on-failure:-1"}, {"--stop-timeout", "-2"},
		{"--log-driver", "syslog"}, {"--log-driver", "none", "--log-opt", "max-size=1m"}, {"--log-opt", "max-size=1k"}, {"--log-opt", "max-file=0"},
		{"--log-opt", "compress=true"}, {"--add-host", "x"}, {"--add-host", "x:y"}, {"--add-host", ":1.2.3.4"}, {"--add-host", "a b:1.2.3.4"},
		{"--add-host", "x:host-gateway"}, {"--expose", "0"}, {"--expose", "80/sctp"}, {"--expose", "90-80"}, {"--shm-size", "some"}, {"--attach", "stdlog"},
		{"--label-file", "/no/such/file"},
	} {
		refuseRun(t, append(args, "alpine"), args[0])
	}
}

func TestDockersFlagsAreRefusedWithAReason(t *testing.T) {
	for _, args := range [][]string{{"--privileged"}, {"--gpus", "all"}, {"-c", "5"}, {"-itc", "5"}, {"--cpu-shares=5"}, {"--dns", "1.1.1.1"}} {
		cmd := newRunCommand()
		cmd.SetArgs(append(args, "alpine"))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := cmd.Execute()
		var usage *usageError
		if !errors.As(err, &usage) || strings.Contains(err.Error(), "unknown") {
			t.Errorf("%q: %v", args, err)
		}
	}
	run, known := newRunCommand(), refusedFlags()
	run.Flags().VisitAll(func(f *pflag.Flag) {
		if why, ok := known[f.Name]; ok {
			t.Errorf("--%s is there, and refused: %s", f.Name, why)
		}
	})
}

// TestDockersFlagsAreKnown has all flags of docker run, version 29, so that none is an unknown one.
func TestDockersFlagsAreKnown(t *testing.T) {
	run, refused := newRunCommand(), refusedFlags()
	for _, name := range strings.Fields(`add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile cpu-period
		cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach detach-keys device device-cgroup-rule device-read-bps
		device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint env env-file expose gpus
		group-add health-cmd health-interval health-retries health-start-interval health-start-period health-timeout help hostname init interactive ip ip6
		ipc isolation kernel-memory label label-file link link-local-ip log-driver log-opt mac-address memory memory-reservation memory-swap memory-swappiness
		mount name network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet
		read-only restart rm runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit use-api-socket user userns
		uts volume volume-driver volumes-from workdir`) {
		if _, ok := refused[name]; !ok && run.Flags().Lookup(name) == nil {
			t.Errorf("--%s is an unknown flag", name)
		}
	}
}

func TestCIDFile(t *testing.T) {
	f := &moreFlags{cidFile: filepath.Join(t.TempDir(), "id")}
	id, err := f.openIDFile()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.openIDFile(); err == nil {
		t.Error("the same file twice")
	}
	id.close()
	if _, err := os.Stat(f.cidFile); !os.IsNotExist(err) {
		t.Errorf("an empty file stays: %v", err)
	}
	if id, err = f.openIDFile(); err != nil {
		t.Fatal(err)
	}
	if err := id.write("abc"); err != nil {
		t.Fatal(err)
	}
	id.close()
	if text, err := os.ReadFile(f.cidFile); err != nil || string(text) != "abc" {
		t.Errorf("got %q, %v", text, err)
	}
}
