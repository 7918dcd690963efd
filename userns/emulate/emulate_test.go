package emulate

import (
	"os"
	"testing"
)

func TestServeRefusesOtherFiles(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := Serve(f, Options{}); err == nil {
		t.Error("no error for a file that is no listener")
	}
}

func TestChownAndStatAgree(t *testing.T) {
	shell(t, `
touch f; mkdir d; ln -s f l; mkfifo p
chown 33:44 f d; chown -h 1:2 l; chown 5 p; chown :7 p
stat -c '%n %u:%g %F' f d l p
stat -L -c '%n %u:%g' l
chown 0:0 f; stat -c '%n %u:%g' f
`, `
f 33:44 regular empty file
d 33:44 directory
l 1:2 symbolic link
p 5:7 fifo
l 33:44
f 0:0`)
}

func TestIdentity(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"root", `id -u; id -g; id -G`, "0\n0\n0"},
		{"setpriv", `setpriv --reuid 33 --regid 44 --groups 44,55 sh -c 'id -u; id -g; id -G'`, "33\n44\n44 55"},
		{"setpriv-clear-groups", `setpriv --reuid 33 --regid 44 --clear-groups id -G`, "44"},
		{"gives-up-root", `setpriv --reuid 33 --regid 44 --clear-groups sh -c 'touch f; chown 1 f; setpriv --reuid 0 true' 2>&1 | grep -c 'not permitted'`, "2"},
		{"keeps-nothing", `setpriv --reuid 33 --regid 44 --clear-groups sh -c 'setpriv --groups 1 true 2>&1'; true`, "setpriv: setgroups failed: Operation not permitted"},
		{"in-background", `(setpriv --reuid 33 --regid 33 --clear-groups sh -c '(sleep 0.2; id -u) &') ; sleep 0.6`, "33"},
		{"daemon", `setpriv --reuid 33 --regid 33 --clear-groups sh -c 'setsid sh -c "setsid sleep 0.1; id -u > out" & exit'; sleep 0.5; cat out; stat -c %u out`, "33\n33"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { shell(t, tt.script, tt.want) })
	}
}

func TestInitialUser(t *testing.T) {
	s := spec{}
	s.Options.UID, s.Options.GID, s.Options.Groups = 999, 998, []uint32{998, 5}
	shellAs(t, s, `id -u; id -g; id -G; touch f; stat -c %u:%g f; chgrp 5 f; stat -c %u:%g f; chown 0 f 2>/dev/null || echo refused; chgrp 6 f 2>/dev/null || echo refused`,
		"999\n998\n998 5\n999:998\n999:5\nrefused\nrefused")
}

func TestFilesOfOthersBelongToThem(t *testing.T) {
	shell(t, `
ln -s made dangling
mkdir shared; chown 0:50 shared; chmod 2775 shared; touch shared/byroot; mkdir shared/dir
chmod 777 .
setpriv --reuid 33 --regid 44 --clear-groups sh -c '
umask 027
echo hello > file; echo more >> file; mkdir dir; echo x > dangling; touch shared/file; ln -s x link; mkfifo fifo; cd dir; echo up > ../up; cat ../file'
stat -c '%n %u:%g %a' file dir dangling made shared/file shared/byroot shared/dir link fifo up`, `
hello
more
file 33:44 640
dir 33:44 750
dangling 0:0 777
made 33:44 640
shared/file 33:50 640
shared/byroot 0:50 644
shared/dir 0:50 2755
link 33:44 777
fifo 33:44 640
up 33:44 640`)
}

func TestDescriptors(t *testing.T) {
	shell(t, `
echo > f; exec 3<>f
chown 33 /dev/fd/3; stat -c %u f; stat -L -c %u /dev/fd/3
chown 34 /proc/self/fd/3; stat -c %u f
chown 35 /proc/$$/fd/3; stat -c %u f
stat -L -c %u - <&3
cd /; stat -c %u "$OLDPWD/../$(basename "$OLDPWD")/f"`, "33\n33\n34\n35\n35\n35")
}

func TestModesSurviveLikeTheKernels(t *testing.T) {
	shell(t, `touch f; chmod 6755 f; chown 33 f; stat -c '%u %a' f; mkdir d; chmod 2755 d; chown 33 d; stat -c '%u %a' d`,
		"33 755\n33 2755")
}

func TestMknod(t *testing.T) {
	shell(t, `
mknod null c 1 3; stat -c '%F %u' null
mknod whiteout c 0 0 2>/dev/null || echo refused
mknod pipe p; stat -c '%F' pipe
setpriv --reuid 33 --regid 33 --clear-groups mknod zero c 1 5 2>/dev/null || echo refused`,
		"regular empty file 0\nrefused\nfifo\nrefused")
}

func TestErrorsAreTheKernels(t *testing.T) {
	shell(t, `
chown 1 missing 2>&1; chown 1 f/x 2>&1
touch f; chown 1 f/x 2>&1
ln -s loop loop; chown 1 loop 2>&1; stat -L loop 2>&1
mkdir d; setpriv --reuid 33 --regid 33 --clear-groups mkdir d 2>&1
setpriv --reuid 33 --regid 33 --clear-groups mkdir no/d 2>&1; true`, `
chown: cannot access 'missing': No such file or directory
chown: cannot access 'f/x': No such file or directory
chown: cannot access 'f/x': Not a directory
chown: cannot dereference 'loop': Too many levels of symbolic links
stat: cannot statx 'loop': Too many levels of symbolic links
mkdir: cannot create directory 'd': File exists
mkdir: cannot create directory 'no/d': No such file or directory`)
}

func TestTheLimitLooksUnlimited(t *testing.T) {
	shell(t, `setpriv --reuid 33 --regid 33 --clear-groups sh -c 'prlimit --locks --noheadings --output SOFT,HARD; prlimit --locks=5:6 id -u'`,
		"unlimited unlimited\n33")
}

func TestTarKeepsOwners(t *testing.T) {
	shell(t, `
mkdir a; touch a/f; chown 1:2 a; chown 3:4 a/f; tar --numeric-owner -cf t.tar a; rm -r a
tar --numeric-owner -xpf t.tar; stat -c '%n %u:%g' a a/f; cp -a a b; stat -c '%n %u:%g' b b/f`,
		"a 1:2\na/f 3:4\nb 1:2\nb/f 3:4")
}

func TestFilesOfOtherHostUsersStayTheirs(t *testing.T) {
	shell(t, `stat -c %u /etc/passwd; chown 0 /etc/passwd 2>&1; chown 33 /etc 2>&1; stat -c %u /etc/passwd /etc`, `
65534
chown: changing ownership of '/etc/passwd': Operation not permitted
chown: changing ownership of '/etc': Operation not permitted
65534
65534`)
}

// TestSupervisorFollowsNoLinkOut has the container name the keeper's files, which the supervisor could reach.
func TestSupervisorFollowsNoLinkOut(t *testing.T) {
	shellAs(t, spec{KeepersProc: true}, `
mkdir d; touch d/f; chmod 777 . d; way=/proc/1/root$PWD/d
chown 33 $way/f /proc/1/cwd/d/f 2>/dev/null; ln -s $way l; chown 33 l/f 2>/dev/null
setpriv --reuid 33 --regid 33 --clear-groups sh -c "(echo > $way/new; mkdir $way/dir; ln -s x $way/link; mkfifo $way/fifo; echo > l/new2) 2>/dev/null"
ls d; stat -c '%n %u' d/f`, "f\nd/f 0")
}

func TestProcOfTheKeeperShowsOwnDescriptors(t *testing.T) {
	shellAs(t, spec{KeepersProc: true}, `echo > f; exec 3<>f; chown 33 /proc/self/fd/3; stat -c %u f; chown 34 /dev/fd/3; stat -c %u f`, "33\n34")
}

// TestMountOfANewFile wants a file that was handed over to be one of the container's own mount, as checkpoints need.
func TestMountOfANewFile(t *testing.T) {
	shell(t, `echo > old; chmod 777 .
setpriv --reuid 33 --regid 33 --clear-groups sh -c 'exec 3<old 4>new; for n in 3 4; do grep mnt_id /proc/self/fdinfo/$n; done' | uniq | wc -l`, "1")
}

// TestSessionsShareOwners wants the owner of what carries no label to be known in the next session.
func TestSessionsShareOwners(t *testing.T) {
	s := spec{Then: []string{"stat", "-c", "%u:%g", "link"}}
	shellAs(t, s, `ln -s x link; chown -h 5:6 link`, "5:6")
}

// TestHeldEmulationLeavesAllToTheKernel has the same calls made before and after the switch.
func TestHeldEmulationLeavesAllToTheKernel(t *testing.T) {
	s := spec{Held: true}
	s.Options.UID, s.Options.GID = 33, 44
	shellAs(t, s, `
id -u; touch f; chown 33 f 2>/dev/null || echo refused; ls -l f | cut -d' ' -f3
echo > switched; sleep 0.2
id -u; touch g; stat -c %u:%g g`, "0\nrefused\nroot\n33\n33:44")
}
