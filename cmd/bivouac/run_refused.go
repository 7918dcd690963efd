package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// refusedFlags are Docker's flags of run that are not there, and what to do without them. A function keeps the table out of every
// start.
func refusedFlags() map[string]string {
	const (
		noCgroup    = "is not supported; the limits there are: --memory, --memory-swap, --cpus and --pids-limit"
		noBlock     = "limits of block devices are not supported; leave it out"
		noResolver  = "there is no network with a resolver; with --network host the machine's is used"
		noAddresses = "containers have no addresses; publish ports with -p"
		private     = "every container has one of its own, which cannot be shared; leave it out"
		windows     = "is for Windows; leave it out"
	)
	return map[string]string{
		"privileged": "an ordinary user has no such rights to give; use --cap-add, --security-opt seccomp=unconfined and " +
			"--security-opt systempaths=unconfined",
		"device":             "device nodes cannot be given without root; for files of devices that are yours, use -v /dev/NAME:/dev/NAME",
		"device-cgroup-rule": "device nodes cannot be given without root; for files of devices that are yours, use -v /dev/NAME:/dev/NAME",
		"gpus":               "is not supported; for files of devices that are yours, use -v /dev/NAME:/dev/NAME",
		"runtime":            "there is one runtime, which is part of bivouac; leave it out",
		"sysctl":             "/proc/sys of a container is read-only, and cannot be set; leave it out",
		"dns":                noResolver, "dns-search": noResolver, "dns-option": noResolver, "dns-opt": noResolver,
		"ip": noAddresses, "ip6": noAddresses, "link-local-ip": noAddresses, "mac-address": noAddresses,
		"link": "containers do not share a network; publish ports with -p, or use --network host", "network-alias": noAddresses, "net-alias": noAddresses,
		"domainname": "is not supported; give the whole name with --hostname",
		"pid":        private, "ipc": private, "uts": private, "cgroupns": private,
		"userns":        "every container has a user namespace with the ids of your own; leave it out",
		"cgroup-parent": "limits are made below the cgroup that bivouac is in: start it by systemd-run --user --scope --slice=NAME",
		"cpu-shares":    noCgroup, "cpu-period": "use --cpus", "cpu-quota": "use --cpus", "cpu-rt-period": noCgroup, "cpu-rt-runtime": noCgroup,
		"cpuset-cpus": "is not supported; use taskset(1) before the command", "cpuset-mems": "is not supported; use numactl(8) before the command",
		"memory-reservation": noCgroup, "memory-swappiness": noCgroup, "kernel-memory": noCgroup, "oom-kill-disable": noCgroup,
		"oom-score-adj": "is not supported; use choom(1) before the command",
		"blkio-weight":  noBlock, "blkio-weight-device": noBlock, "device-read-bps": noBlock, "device-read-iops": noBlock,
		"device-write-bps": noBlock, "device-write-iops": noBlock, "storage-opt": "the size of a container's files cannot be limited; leave it out",
		"volume-driver": "there is one driver of volumes, local; leave it out", "annotation": "is for other runtimes; use --label",
		"disable-content-trust": "signatures are not looked at; name the image by its digest", "use-api-socket": "there is no daemon; leave it out",
		"isolation": windows, "cpu-count": windows, "cpu-percent": windows, "io-maxbandwidth": windows, "io-maxiops": windows,
	}
}

// refuseDockersFlags has flags of Docker's that cannot work refused with the reason.
func refuseDockersFlags(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var missing *pflag.NotExistError
		if !errors.As(err, &missing) {
			return err
		}
		name := missing.GetSpecifiedName()
		if name == "c" {
			name = "cpu-shares"
		}
		if why, ok := refusedFlags()[name]; ok {
			return usageErrorf("--%s: %s", name, why)
		}
		return err
	})
}

// freeHelp makes the flag --help without its short form, which is --hostname's, as in Docker.
func freeHelp(cmd *cobra.Command) { cmd.Flags().Bool("help", false, "print this help") }
