package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"github.com/bivouac-run/bivouac/sandbox"
)

// hostPIDs finds a container's processes among the machine's: those in its pid namespace, its first one and helpers included.
func hostPIDs(ct *sandbox.Container) (pids []string) {
	GinkgoHelper()
	own := strings.TrimSpace(said(ct, shell("readlink /proc/self/ns/pid")))
	Expect(own).To(HavePrefix("pid:["))
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if link, _ := os.Readlink(dir + "/ns/pid"); link == own {
			pids = append(pids, filepath.Base(dir))
		}
	}
	Expect(pids).NotTo(BeEmpty())
	return pids
}

// varying are fields of /proc/PID/status that say nothing of confinement, or are the machine's numbers.
var varying = regexp.MustCompile(`^(State|Tgid|Ngid|Pid|PPid|FDSize|Vm.*|Rss.*|Hugetlb.*|SigQ|Threads|.*ctxt_switches|Core.*|x86.*|THP_.*|untag_mask|Mems.*|Cpus.*):`)

// insideNumber is the last one of a line of a number per namespace.
var insideNumber = regexp.MustCompile(`^(NS\w+):.*\s(\d+)$`)

// facts tells everything that confines a container's processes, and what they can reach, by their numbers inside. Only root of
// the keeper's user namespace may read it all.
func facts(ct *sandbox.Container) (all map[string]string) {
	GinkgoHelper()
	own, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.Command("nsenter", "--user", "--preserve-credentials", "-t", strconv.Itoa(keeperPID()), own)
	cmd.Env = append(os.Environ(), programVariable+"=facts "+strings.Join(hostPIDs(ct), " "))
	out, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred())
	Expect(json.Unmarshal(bytes.ReplaceAll(out, []byte(ct.ID), []byte("ID")), &all)).To(Succeed())
	return all
}

// printFacts is the part of facts in the user namespace.
func printFacts(pids []string) error {
	all := map[string]string{}
	var f factFinder
	for _, pid := range pids {
		name, lines := f.process(pid)
		all[name] = strings.Join(lines, "\n")
	}
	return errors.Join(f.err, json.NewEncoder(os.Stdout).Encode(all))
}

// factFinder reads until something cannot be read.
type factFinder struct{ err error }

func (f *factFinder) process(pid string) (name string, lines []string) {
	dir := "/proc/" + pid
	lines, name = f.threads(dir, pid)
	for _, file := range []string{
		"limits", "oom_score_adj", "cgroup", "environ", "cmdline", "loginuid", "sessionid", "personality", "timerslack_ns",
		"mountinfo", "uid_map", "gid_map", "setgroups",
	} {
		lines = append(lines, file+": "+f.content(dir+"/"+file))
	}
	for _, link := range []string{"cwd", "root", "exe"} {
		lines = append(lines, link+": "+f.link(dir+"/"+link))
	}
	for _, fd := range f.list(dir + "/fd") {
		lines = append(lines, "fd "+fd+": "+f.link(dir+"/fd/"+fd))
	}
	return name, append(lines, f.owners(dir)...)
}

// threads tells of each kind of thread once: programs make more of them as they like.
func (f *factFinder) threads(dir, pid string) (lines []string, name string) {
	for _, thread := range f.list(dir + "/task") {
		status, err := os.ReadFile(dir + "/task/" + thread + "/status")
		if thread != pid && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)) {
			continue // it has just ended
		}
		f.err = errors.Join(f.err, err)
		text := "thread\n"
		for line := range strings.Lines(string(status)) {
			line = strings.TrimSpace(line)
			if m := insideNumber.FindStringSubmatch(line); m != nil {
				line = m[1] + ": " + m[2]
				if m[1] == "NSpid" && thread == pid {
					name = m[2]
				}
			}
			if !varying.MatchString(line) && (thread == pid || !strings.HasPrefix(line, "Name:") && !strings.HasPrefix(line, "NSpid:")) {
				text += line + "\n"
			}
		}
		lines = append(lines, text+"label: "+f.content(dir+"/task/"+thread+"/attr/current"))
	}
	slices.Sort(lines)
	return slices.Compact(lines), name
}

// content reads a file that may be missing only where the kernel lacks it altogether.
func (f *factFinder) content(path string) string {
	text, err := os.ReadFile(path)
	if err != nil && !strings.HasSuffix(path, "attr/current") && !strings.HasSuffix(path, "id") {
		f.err = errors.Join(f.err, err)
	}
	return string(text)
}

func (f *factFinder) link(path string) string {
	target, err := os.Readlink(path)
	f.err = errors.Join(f.err, err)
	return target
}

func (f *factFinder) list(dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	f.err = errors.Join(f.err, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// owners tells for each namespace of a process whether it belongs to the container's user namespace.
func (f *factFinder) owners(dir string) (lines []string) {
	for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid", "uts"} {
		ns, err := os.Open(dir + "/ns/" + kind)
		if err != nil {
			f.err = errors.Join(f.err, err)
			continue
		}
		fd, err := unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_USERNS)
		ns.Close()
		var of, own unix.Stat_t
		f.err = errors.Join(f.err, err, unix.Fstat(fd, &of), unix.Stat(dir+"/ns/user", &own), unix.Close(fd))
		lines = append(lines, fmt.Sprint(kind, " is the container's: ", of.Ino == own.Ino))
	}
	return lines
}

// ours are numbers and names that are each container's own.
var ours = []struct{ pattern, with string }{
	{`(?m)^(mountinfo: )?\d+ \d+ \d+:\d+ `, "$1"},
	{`(lowerdir[^ ,]*,)+upperdir[^ ,]*,workdir[^ ,]*`, "layers"},
	{`index=o[nf]+`, ""},
	{`[0-9a-f]{64}|\b[0-9a-f]{12}\b`, "ID"},
	{`(pipe|socket|mnt|net|pid|ipc|uts|cgroup|user|time):\[\d+\]`, "$1"},
}

func anonymous(text string) string {
	for _, o := range ours {
		text = regexp.MustCompile(o.pattern).ReplaceAllString(text, o.with)
	}
	return text
}

var _ = Describe("a clone's confinement", func() {
	ctx := context.Background()

	BeforeEach(func() {
		needCRIU()
		emptyStoreAfter(store)
	})

	DescribeTable("is that of its original, for every thread of every process",
		func(start func(*sandbox.Client) *sandbox.Container) {
			client := newClient()
			ct := start(client)
			s := checkpointed(ct, kept)
			original := facts(ct)
			clone := cloned(client, s.ID)
			again := cloned(client, checkpointed(clone, kept).ID)
			for name, c := range map[string]*sandbox.Container{"the clone": clone, "the clone of the clone": again} {
				Eventually(func() int { return len(hostPIDs(c)) }).Should(Equal(len(original)), "CRIU is gone")
				now := facts(c)
				for pid, want := range original {
					Expect(cmp.Diff(strings.Split(anonymous(want), "\n"), strings.Split(anonymous(now[pid]), "\n"))).To(BeEmpty(), "%s, process %s", name, pid)
				}
				for pid, text := range now {
					Expect(text).NotTo(MatchRegexp(`(?i)criu|snapshots/[^:]*/(images|trees|by-id)|loader`), pid)
					if pid != "1" {
						Expect(text).To(And(ContainSubstring("\nSeccomp:\t2\n"), ContainSubstring("\nNoNewPrivs:\t1\n")), pid)
					}
				}
			}
			Expect(again.Discard(ctx)).To(Succeed())
		},
		Entry("nginx, whose workers are another user", func(client *sandbox.Client) *sandbox.Container { return nginx.up(client, nil) }),
		Entry("Redis, which has stepped down, with limits and fewer capabilities", func(client *sandbox.Client) *sandbox.Container {
			return redis.up(client, func(s *sandbox.Spec) {
				s.CapDrop, s.CapAdd = []string{"ALL"}, []string{"SETUID", "SETGID", "CHOWN"}
				s.Ulimits = []sandbox.Ulimit{{Name: "nofile", Soft: 900, Hard: 1000}, {Name: "core", Soft: 0, Hard: 0}}
			})
		}),
		Entry("a JVM with its threads", func(client *sandbox.Client) *sandbox.Container { return httpService("java:17", nil).up(client, nil) }),
	)

	It("has what the specification says where that differs from the default", func() {
		client := newClient()
		for _, change := range []func(*sandbox.Spec){
			func(s *sandbox.Spec) { s.Seccomp, s.CapAdd = "unconfined", []string{"SYS_ADMIN"} },
			func(s *sandbox.Spec) { s.ReadOnly, s.User = true, "33:33" },
			func(s *sandbox.Spec) { s.CapDrop = []string{"ALL"} },
			func(s *sandbox.Spec) { s.UnmaskPaths, s.WorkingDir = true, "/tmp" },
		} {
			spec := checkpointable(busyboxSpec("while :; do sleep 0.1; done"))
			change(&spec)
			ct, err := client.Create(ctx, spec, nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
			s := checkpointed(ct, kept)
			line := `grep -hE "^(Cap|Seccomp|NoNew|Uid|Gid|Groups)" /proc/100/status; ls -ld /proc/100/cwd/. | cut -c1-10`
			Expect(said(cloned(client, s.ID), shell(line))).To(Equal(said(ct, shell(line))))
		}
	})

	It("shows nothing of the host that the original does not see", func() {
		client := newClient()
		ct := redis.up(client, nil)
		clone := cloned(client, checkpointed(ct, kept).ID)
		look := "cat /proc/self/mountinfo; ls -lan / /dev /proc/self/ns /proc/sys/kernel | wc -l; env | sort; cat /proc/self/limits /proc/self/status; ls -A /run /tmp /dev /dev/shm"
		normalized := func(ct *sandbox.Container) []string {
			lines := strings.Split(normal(anonymous(strings.ReplaceAll(said(ct, shell(look)), ct.ID[:12], "ID"))), "\n")
			return slices.DeleteFunc(lines, func(l string) bool { return varying.MatchString(l) || strings.HasPrefix(l, "NS") })
		}
		Expect(cmp.Diff(normalized(ct), normalized(clone))).To(BeEmpty())
	})
})
