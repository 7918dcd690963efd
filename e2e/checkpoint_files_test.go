package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/bivouac-run/bivouac/sandbox"
)

// oddFiles makes every kind of file and change, on the image and in memory.
const oddFiles = `
import os, time
os.remove("/etc/debian_version")
os.makedirs("/etc/skel", exist_ok=True)
for f in os.listdir("/etc/skel"): os.remove("/etc/skel/" + f)
os.rmdir("/etc/skel"); os.mkdir("/etc/skel"); open("/etc/skel/only-this", "w").close()
for top in ("/odd", "/dev/shm", "/memory"):
    os.makedirs(top + "/d/e", exist_ok=True)
    open(top + "/d/f", "w").write("text")
    os.chown(top + "/d/f", 70, 71); os.chmod(top + "/d/f", 0o4750)
    os.link(top + "/d/f", top + "/d/hard"); os.symlink("/etc/passwd", top + "/d/soft"); os.symlink("nowhere", top + "/d/dangling")
    os.mkfifo(top + "/d/fifo", 0o640)
    os.setxattr(top + "/d/f", "user.colour", b"blue\0green")
    os.chown(top + "/d/e", 5, 6); os.chmod(top + "/d/e", 0o1731)
    with open(top + "/d/sparse", "wb") as f: f.seek(5 << 20); f.write(b"end")
    for f in ("f", "soft", "fifo", "e"): os.utime(top + "/d/" + f, ns=(10**18 + 7, 10**18 + 7), follow_symlinks=False)
open("/dev/shm/ready", "w").close()
time.sleep(1000)
`

// tellFiles prints them.
const tellFiles = `
import hashlib, os, sys
print(os.path.exists("/etc/debian_version"), os.listdir("/etc/skel"))
names = {}
for top in sys.argv[1:]:
    for dir, dirs, files in os.walk(top):
        for f in sorted(dirs + files):
            p = os.path.join(dir, f); s = os.lstat(p)
            text = os.readlink(p) if os.path.islink(p) else hashlib.sha1(open(p, "rb").read()).hexdigest() if os.path.isfile(p) else ""
            same = names.setdefault((s.st_dev, s.st_ino), p)
            attributes = [(n, os.getxattr(p, n, follow_symlinks=False)) for n in os.listxattr(p, follow_symlinks=False)]
            print(p, oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, "" if os.path.isdir(p) else s.st_size, s.st_blocks < 1000, s.st_mtime_ns if f in ("f", "soft", "fifo", "e") else "", same, text, attributes)
`

var _ = Describe("a checkpoint's files", func() {
	ctx := context.Background()
	var client *sandbox.Client

	BeforeEach(func() {
		emptyStoreAfter(store)
		client = newClient()
	})

	// files is a checkpoint without processes.
	files := sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever}
	run := func(spec sandbox.Spec) *sandbox.Container {
		GinkgoHelper()
		ct, err := client.Create(ctx, spec, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(ct.Start(ctx, sandbox.Streams{})).To(Succeed())
		return ct
	}
	has := func(ct *sandbox.Container, name string) {
		GinkgoHelper()
		Eventually(func() error { _, err := fs.Stat(ct.FS(ctx), name); return err }).Should(Succeed(), name)
	}

	It("are clean: the program is asked to end and its last words are in them", func() {
		ct := run(busyboxSpec("trap 'sleep 0.2; echo saved >/saved; exit 3' TERM; : >/ready; cp /saved /seen; while :; do sleep 0.01; done"))
		has(ct, "ready")
		s := checkpointed(ct, files)
		Expect(s).To(And(HaveField("Tier", sandbox.TierFiles), HaveField("Quality", sandbox.QualityClean), HaveField("Fallback", "")))
		Expect(ct.Wait(ctx)).To(Equal(sandbox.Exit{Code: 3}))
		clone := cloned(client, s.ID)
		has(clone, "seen")
		Expect(said(clone, shell("cat /seen"))).To(Equal("saved\n"), "the program was started")
		// Of a program that has ended there are clean files without more.
		again := checkpointed(ct, sandbox.CheckpointSpec{Quality: sandbox.QualityClean})
		Expect(again).To(And(HaveField("Tier", sandbox.TierFiles), HaveField("Fallback", ContainSubstring("does not run"))))
	})

	It("are clean also of a program that is to go on: it is started again", func() {
		ct := run(busyboxSpec("trap 'echo ended >>/life; exit' TERM; echo begun >>/life; while :; do sleep 0.01; done"))
		has(ct, "life")
		spec := files
		spec.LeaveRunning = true
		s := checkpointed(ct, spec)
		Expect(s.Quality).To(Equal(sandbox.QualityClean))
		Eventually(func() string { return said(ct, shell("cat /life")) }).Should(Equal("begun\nended\nbegun\n"))
		clone, err := client.Restore(ctx, sandbox.RestoreSpec{Snapshot: s.ID})
		Expect(err).NotTo(HaveOccurred())
		Expect(fs.ReadFile(clone.FS(ctx), "life")).To(BeEquivalentTo("begun\nended\n"))
	})

	It("are live: the program does not notice", func() {
		ct := run(busyboxSpec("trap 'echo no >/signalled' TERM INT HUP CONT; i=0; while :; do i=$((i+1)); echo $i >>/count; sleep 0.01; done"))
		has(ct, "count")
		live := sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever, Quality: sandbox.QualityLive, LeaveRunning: true}
		s := checkpointed(ct, live)
		Expect(s.Quality).To(Equal(sandbox.QualityLive))
		lines := func() string { return said(ct, shell("wc -l </count")) }
		before := lines()
		Eventually(lines).ShouldNot(Equal(before))
		Expect(said(ct, shell("ls /signalled; sort -n /count | uniq -d | wc -l"))).To(HaveSuffix("\n0\n"))
		live.LeaveRunning = false
		checkpointed(ct, live)
		Expect(ct.Wait(ctx)).To(HaveField("Signal", 9))
		Expect(cloned(client, s.ID).Discard(ctx)).To(Succeed())
	})

	It("are live as well where a program does not end when it is asked to", func() {
		ct := run(busyboxSpec("trap '' TERM; : >/ready; while :; do sleep 0.01; done"))
		has(ct, "ready")
		spec := files
		spec.StopTimeout = 200 * time.Millisecond
		Expect(checkpointed(ct, spec).Quality).To(Equal(sandbox.QualityLive))
		Expect(ct.Wait(ctx)).To(HaveField("Signal", 9))
	})

	DescribeTable("are there in a clone as they were, with owners, modes, links and attributes",
		func(checkpoint sandbox.CheckpointSpec) {
			if checkpoint.Processes == sandbox.ProcessesRequired {
				needCRIU()
			}
			spec := checkpointable(serviceSpec("python:3"))
			spec.Args = []string{"python3", "-c", oddFiles}
			spec.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/memory", Mode: 0o711}}
			ct := run(spec)
			has(ct, "dev/shm/ready")
			tell := func(ct *sandbox.Container) string {
				GinkgoHelper()
				text, exit := executed(ct, sandbox.ExecSpec{Args: []string{"python3", "-c", tellFiles, "/odd", "/dev/shm", "/memory"}})
				Expect(exit.Code).To(BeZero(), text)
				return text
			}
			want := tell(ct)
			Expect(want).To(And(HavePrefix("False ['only-this']\n"), ContainSubstring("user.colour")))
			s := checkpointed(ct, checkpoint)
			// The program does not do its work again.
			restore := sandbox.RestoreSpec{Snapshot: s.ID}
			for range 3 {
				clone, err := client.Restore(ctx, restore)
				Expect(err).NotTo(HaveOccurred())
				if s.Tier == sandbox.TierProcesses {
					Expect(clone.Start(ctx, sandbox.Streams{})).To(Succeed())
					Expect(tell(clone)).To(Equal(want))
				} else {
					info, err := fs.Stat(clone.FS(ctx), "odd/d/f")
					Expect(err).NotTo(HaveOccurred())
					Expect(info.Sys()).To(HaveValue(And(HaveField("UID", BeEquivalentTo(70)), HaveField("GID", BeEquivalentTo(71)))))
					_, err = fs.Stat(clone.FS(ctx), "etc/debian_version")
					Expect(err).To(MatchError(fs.ErrNotExist))
				}
				Expect(clone.Changes(ctx)).To(BeEmpty(), "against the snapshot")
				restore.Snapshot = checkpointed(clone, checkpoint).ID
				Expect(clone.Discard(ctx)).To(Succeed())
			}
		},
		Entry("with processes", sandbox.CheckpointSpec{Processes: sandbox.ProcessesRequired}),
		Entry("alone", sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever, Quality: sandbox.QualityLive, LeaveRunning: true}),
	)

	It("have what was in memory, unless that is left out", func() {
		spec := busyboxSpec("cat /memory/f /dev/shm/f 2>/dev/null; echo m >>/memory/f; echo s >>/dev/shm/f; echo r >>/ready; sleep 1000")
		spec.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/memory"}}
		for omitted, want := range map[bool]string{false: "m\ns\n", true: ""} {
			ct := run(spec)
			has(ct, "ready")
			s := checkpointed(ct, sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever, Quality: sandbox.QualityLive, OmitMounts: omitted})
			streams, text := collect()
			clone := clonedAs(client, sandbox.RestoreSpec{Snapshot: s.ID}, streams)
			Eventually(func() string { return said(clone, shell("cat /ready")) }).Should(Equal("r\nr\n"))
			Expect(clone.Discard(ctx)).To(Succeed())
			Expect(text()).To(Equal(want))
		}
	})

	It("of a clone of a clone outlast the snapshots between", func() {
		ct := created(client, "echo $(ls /[0-9]) >>/log; sleep 1000")
		var last sandbox.Snapshot
		for _, name := range []string{"1", "2", "3"} {
			if last.ID != "" {
				var err error
				ct, err = client.Restore(ctx, sandbox.RestoreSpec{Snapshot: last.ID})
				Expect(err).NotTo(HaveOccurred())
			}
			Expect(ct.CopyTo(ctx, "/", oneFile(name))).To(Succeed())
			next := checkpointed(ct, files)
			if last.ID != "" {
				Expect(code(client.RemoveSnapshot(ctx, last.ID))).To(Equal(sandbox.CodeInUse))
				Expect(ct.Discard(ctx)).To(Succeed())
				Expect(client.RemoveSnapshot(ctx, last.ID)).To(Succeed())
			}
			last = next
		}
		clone := cloned(client, last.ID)
		Eventually(func() string { return said(clone, shell("cat /log")) }).Should(Equal("/1 /2 /3\n"))
		list, err := client.Snapshots(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(list).To(HaveLen(1))
		_, err = client.Restore(ctx, sandbox.RestoreSpec{Snapshot: "0123456789ab"})
		Expect(code(err)).To(Equal(sandbox.CodeNotFound))
	})

	It("are taken back by a reset, with processes, memory and all but the addresses", func() {
		needCRIU()
		ct := redis.up(client, nil)
		Expect(redisDo(ct, "INCR n")).To(Equal("1"))
		Expect(code(ct.Reset(ctx, sandbox.Streams{}))).To(Equal(sandbox.CodeInvalid), "it is no clone")
		clone := cloned(client, checkpointed(ct, processes).ID)
		at := address(clone, "tcp", 6379)
		changeIt := []func(){
			func() { Expect(redisDo(clone, "SAVE")).To(Equal("+OK")) },
			func() { Expect(clone.Pause(ctx)).To(Succeed()) },
			func() { Expect(clone.Signal(ctx, syscall.SIGKILL)).To(Succeed()) },
			func() {
				_, err := clone.Exec(ctx, shell("echo x >/etc/passwd; echo y >/dev/shm/y; exec sleep 1000"), sandbox.Streams{})
				Expect(err).NotTo(HaveOccurred())
			},
			func() {},
		}
		for _, change := range changeIt {
			Expect(redisDo(clone, "INCR n")).To(Equal("2"))
			change()
			Expect(clone.Reset(ctx, sandbox.Streams{})).To(Succeed())
			Expect(redis.greet(at)).To(Succeed())
			Expect(said(clone, shell("ls /dev/shm; grep -c root: /etc/passwd; ls /data"))).To(Equal("1\nappendonlydir\n"))
			Eventually(func() ([]sandbox.ProcessInfo, error) { return clone.Processes(ctx) }).Should(HaveLen(2), "its init and its program, when CRIU has ended")
		}
		Expect(redisDo(clone, "GET n")).To(Equal("1"))
		origin := started(client, "touch /made; sleep 1000")
		has(origin, "made")
		plain := cloned(client, checkpointed(origin, sandbox.CheckpointSpec{Quality: sandbox.QualityLive}).ID)
		executed(plain, shell("rm -r /etc /made; echo x >/left"))
		Expect(plain.Reset(ctx, sandbox.Streams{})).To(Succeed())
		Expect(said(plain, shell("ls -d /etc/passwd /made /left 2>/dev/null"))).To(Equal("/etc/passwd\n/made\n"))
	})

	It("may be one client's alone, in memory", func() {
		ct := started(client, "echo mine >/file; sleep 1000")
		has(ct, "file")
		s := checkpointed(ct, sandbox.CheckpointSpec{Ephemeral: true, Quality: sandbox.QualityLive, LeaveRunning: true})
		Expect(s.Ephemeral).To(BeTrue())
		Expect(client.Snapshots(ctx)).To(ContainElement(And(HaveField("ID", s.ID), HaveField("Ephemeral", true))))
		clone := cloned(client, s.ID[:12])
		Expect(said(clone, shell("cat /file"))).To(Equal("mine\n"))
		durable := checkpointed(clone, sandbox.CheckpointSpec{Quality: sandbox.QualityLive, Name: "durable"})
		other := newClient()
		_, err := other.Snapshot(ctx, s.ID)
		Expect(code(err)).To(Equal(sandbox.CodeNotFound))
		for _, bad := range []sandbox.CheckpointSpec{{Ephemeral: true, Name: "named"}, {Quality: "good"}, {Processes: "perhaps"}, {Name: "no name"}} {
			_, err := ct.Checkpoint(ctx, bad)
			Expect(code(err)).To(Equal(sandbox.CodeInvalid), "%+v", bad)
		}
		Expect(client.Close()).To(Succeed())
		Expect(other.Snapshots(ctx)).To(ConsistOf(HaveField("ID", durable.ID)))
		Expect(said(cloned(other, "durable"), shell("cat /file"))).To(Equal("mine\n"))
	})

	It("can be read, copied and changed in a clone before it starts and while it runs", func() {
		ct := started(client, "echo one >/file; sleep 1000")
		has(ct, "file")
		clone, err := client.Restore(ctx, sandbox.RestoreSpec{Snapshot: checkpointed(ct, files).ID})
		Expect(err).NotTo(HaveOccurred())
		Expect(fs.ReadFile(clone.FS(ctx), "file")).To(BeEquivalentTo("one\n"))
		Expect(clone.CopyTo(ctx, "/", oneFile("before"))).To(Succeed())
		Expect(clone.Start(ctx, sandbox.Streams{})).To(Succeed())
		Expect(clone.CopyTo(ctx, "/", oneFile("while"))).To(Succeed())
		Expect(said(clone, shell("ls /before /while"))).To(Equal("/before\n/while\n"))
		list, err := clone.Changes(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(list).To(ContainElements(sandbox.Change{Path: "/before", Kind: sandbox.ChangeAdded}, sandbox.Change{Path: "/while", Kind: sandbox.ChangeAdded}))
	})

	DescribeTable("can be given to another store",
		func(spec sandbox.CheckpointSpec) {
			if spec.Processes == sandbox.ProcessesRequired {
				needCRIU()
			}
			// It counts on from its memory, or from its file.
			ct := run(checkpointable(busyboxSpec("n=$(cat /n); trap 'exit' TERM; while :; do n=$((n+1)); echo $n >/n.new; mv /n.new /n; sleep 0.02; done")))
			count := func(ct *sandbox.Container) int {
				n, _ := strconv.Atoi(strings.TrimSpace(said(ct, shell("cat /n"))))
				return n
			}
			Eventually(func() int { return count(ct) }).Should(BeNumerically(">", 5))
			clone := cloned(client, checkpointed(ct, spec).ID)
			Eventually(func() int { return count(clone) }).Should(BeNumerically(">", 10))
			s := checkpointed(clone, spec) // two layers
			stream, err := client.ExportSnapshot(ctx, s.ID)
			Expect(err).NotTo(HaveOccurred())
			archive, err := io.ReadAll(stream)
			Expect(err).NotTo(HaveOccurred())
			Expect(stream.Close()).To(Succeed())

			own := filepath.Join(scratchDir(), "store")
			emptyStoreAfter(own)
			other, err := sandbox.Start(ctx, sandbox.Options{Keeper: binary, Env: []string{"BIVOUAC_HOME=" + own}})
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(other.Close)
			imported, err := other.ImportSnapshot(ctx, bytes.NewReader(archive), "theirs")
			Expect(err).NotTo(HaveOccurred())
			Expect(imported).To(And(HaveField("Name", "theirs"), HaveField("Tier", s.Tier)))
			theirs := cloned(other, "theirs")
			Expect(count(theirs)).To(BeNumerically(">", 10))
			for _, bad := range [][]byte{archive[:len(archive)/2], []byte("no archive"), nil} {
				_, err := other.ImportSnapshot(ctx, bytes.NewReader(bad), "broken")
				Expect(code(err)).To(Equal(sandbox.CodeBadArchive), "%v", err)
			}
			Expect(other.Snapshots(ctx)).To(HaveLen(1))
		},
		Entry("with processes", sandbox.CheckpointSpec{Processes: sandbox.ProcessesRequired}),
		Entry("alone", sandbox.CheckpointSpec{Processes: sandbox.ProcessesNever}),
	)
})

// oneFile is an archive of an empty file.
func oneFile(name string) io.Reader {
	GinkgoHelper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	Expect(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644})).To(Succeed())
	Expect(w.Close()).To(Succeed())
	return &b
}

// bigFile is an archive of a file that cannot be made smaller.
func bigFile(name string, size int64) io.Reader {
	GinkgoHelper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	Expect(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size})).To(Succeed())
	_, err := w.Write(bytes.Repeat([]byte{'x'}, int(size)))
	Expect(err).NotTo(HaveOccurred())
	Expect(w.Close()).To(Succeed())
	return &b
}
