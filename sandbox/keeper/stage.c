// The second stage of a start, without Go: what libcontainer's init does once its C part (nsexec) has made the namespaces.
// libcontainer stays the parent: it makes the namespaces, maps the ids, applies the limits and keeps the state. This takes
// the place of its Go program inside of the container, which needs more time to boot and to mount than all the rest; it
// speaks the same protocol (libcontainer/sync.go) and does the same in the same order (standard_init_linux.go).
//
// It acts if the plan says so, which is so where all that is asked for can be said in steps (stage.go); otherwise, and if
// this fails, libcontainer's own init does it. A test compares what both leave.
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// libcontainer's first stage (libcontainer/nsenter). It is weak for cgo, which links this package alone for a look at it.
extern void nsexec(void) __attribute__((weak));

#ifndef MNT_DETACH // is in <sys/mount.h>, which cannot be had together with <linux/mount.h>
#define MNT_DETACH 2
#endif

// The strings of the plan that is only there with PLAN_STAGE.
enum { STRING_ROOT, STRING_HOSTNAME, STRING_DIRECTORY };

static int descriptor(const char *variable) {
	const char *value = getenv(variable);
	return value ? atoi(value) : -1;
}

// raise_loopback fails in the host's network namespace, where lo is up.
static void raise_loopback(void) {
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

static int mount_(const char *source, const char *target, unsigned long flags) {
	return syscall(SYS_mount, source, target, "", flags, "");
}

// open_root makes the root a mount of its own, as pivot_root(2) wants it, from which nothing propagates.
static int open_root(const char *path) {
	if (mount_("", "/", MS_SLAVE | MS_REC) < 0 || mount_(path, path, MS_BIND | MS_REC) < 0)
		plan_fail(STAGE_ROOT, 125);
	int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		plan_fail(STAGE_ROOT, 125);
	return root;
}

// pivot changes the root without a place for the old one: both are at "." for a moment (pivot_root(2), NOTES).
static void pivot(int root) {
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0 || fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || fchdir(old) < 0 ||
	    mount_("", ".", MS_SLAVE | MS_REC) < 0 || syscall(SYS_umount2, ".", MNT_DETACH) < 0 || chdir("/") < 0)
		plan_fail(STAGE_PIVOT, 125);
	close(old);
	close(root);
}

// parent tells libcontainer how far this is, and waits for leave to go on. Its configuration for the Go init is read
// away meanwhile, so that it never waits for us.
static void parent(int sync, const char *say, const char *hear) {
	char text[512];
	struct pollfd fds[2] = {{.fd = sync, .events = POLLIN}, {.fd = descriptor("_LIBCONTAINER_INITPIPE"), .events = POLLIN}};
	if (write(sync, say, strlen(say)) < 0)
		plan_fail(STAGE_SYNC, 125);
	while (!fds[0].revents) {
		if (fds[1].revents && read(fds[1].fd, text, sizeof text) <= 0)
			fds[1].fd = -1;
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			plan_fail(STAGE_SYNC, 125);
	}
	ssize_t n = recv(sync, text, sizeof text - 1, 0);
	if (n < 0)
		plan_fail(STAGE_SYNC, 125);
	text[n] = 0;
	errno = EPROTO;
	if (!strstr(text, hear))
		plan_fail(STAGE_SYNC, 125);
}

static int is_null_device(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3); }

// replace_null has standard streams that are the host's null device be the container's.
static void replace_null(void) {
	struct stat st;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	errno = null < 0 ? errno : EBADF;
	if (null < 0 || fstat(null, &st) < 0 || !is_null_device(&st))
		plan_fail(STAGE_DIRECTORY, 125);
	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &st) == 0 && is_null_device(&st) && dup3(null, fd, 0) < 0)
			plan_fail(STAGE_DIRECTORY, 125);
	close(null);
}

// make_directory makes path and what leads to it. The root is the container's own.
static void make_directory(char *path) {
	struct stat st;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return;
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			plan_fail(STAGE_DIRECTORY, 125);
		if (!slash)
			return;
		*slash = '/';
	}
}

// await_start is the end of libcontainer's part: it opens the other end of the pipe once everything is well.
static void await_start(void) {
	char path[32] = "/proc/self/fd/";
	const char *number = getenv("_LIBCONTAINER_FIFOFD");
	if (!number || strlen(number) > 9)
		plan_fail(STAGE_SYNC, 125);
	int fifo = open(strcat(path, number), O_WRONLY | O_CLOEXEC);
	if (fifo < 0 || write(fifo, "0", 1) != 1)
		plan_fail(STAGE_SYNC, 125);
	close(fifo);
}

// confine does what is the last thing of libcontainer's part: from here on the process is what the program will be.
static void confine(const struct plan *p, int sync) {
	if (p->h->flags & PLAN_IPC && setns(IPC_FD, CLONE_NEWIPC) < 0)
		plan_fail(STAGE_JOIN, 125);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		plan_fail(STAGE_USER, 125);
	parent(sync, "{\"type\":\"procReady\",\"flags\":0}", "\"procRun\"");
	stage_user(p);
	close(sync);
	close(descriptor("_LIBCONTAINER_LOGPIPE"));
}

static void set_kernel(const char *path, const char *value) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) // the kernel was built without it
		return;
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		plan_fail(STAGE_CHECKPOINT, 125);
	close(fd);
}

// prepare_tree makes the namespaces so that CRIU can dump what runs in them: CRIU does not know MPTCP, which Go's servers
// listen with, and a clone's processes get their old numbers, which must not be those of who restores them.
static void prepare_tree(const struct plan_header *h) {
	char number[16];
	snprintf(number, sizeof number, "%u", h->last_pid);
	set_kernel("/proc/sys/net/mptcp/enabled", "0");
	set_kernel("/proc/sys/kernel/ns_last_pid", number);
}

static void make_container(const struct plan *p, int sync) {
	if (p->h->flags & PLAN_LOOPBACK)
		raise_loopback();
	int root = open_root(p->stage[STRING_ROOT]);
	stage_mounts(p, root);
	// libcontainer applies the limits here: without this step they were lost.
	parent(sync, "{\"type\":\"procHooks\",\"flags\":0}", "\"procHooksDone\"");
	pivot(root);
	replace_null();
	make_directory(p->stage[STRING_DIRECTORY]);
	if (p->h->last_pid)
		prepare_tree(p->h);
	stage_restrictions(p);
	umask(022);
	if (sethostname(p->stage[STRING_HOSTNAME], strlen(p->stage[STRING_HOSTNAME])) < 0)
		plan_fail(STAGE_USER, 125);
	confine(p, sync);
	await_start();
}

// become_init executes this binary again, so that of all this nothing is left in the memory of a pid 1 that stays.
static _Noreturn void become_init(void) {
	char *argv[] = {"/proc/self/exe", NULL}, *env[] = {"_BIVOUAC_INIT=1", "HOME=/", NULL};
	fcntl(PLAN_FD, F_SETFD, 0);
	fcntl(REPORT_FD, F_SETFD, 0);
	syscall(SYS_close_range, REPORT_FD + 1, ~0U, 0);
	execve("/proc/self/exe", argv, env);
	plan_fail(STAGE_FORK, 125);
}

// What libcontainer executes this program for.
enum role { ROLE_NONE, ROLE_INIT, ROLE_JOIN };

// role is none unless there is a plan with this stage.
static enum role role(void) {
	struct plan_header h;
	const char *type = getenv("_LIBCONTAINER_INITTYPE");
	if (!type || !getenv("_LIBCONTAINER_INITPIPE") || pread(PLAN_FD, &h, sizeof h, 0) != sizeof h || h.magic != PLAN_MAGIC ||
	    !(h.flags & PLAN_STAGE))
		return ROLE_NONE;
	return strcmp(type, "standard") == 0 ? ROLE_INIT : strcmp(type, "setns") == 0 ? ROLE_JOIN : ROLE_NONE;
}

// is_inside tells whether libcontainer's first stage is over: it names the last of its processes.
static int is_inside(void) {
	char name[16] = "";
	return prctl(PR_GET_NAME, name) == 0 && strcmp(name, "runc:[2:INIT]") == 0;
}

// The constructor of libcontainer's first stage may come before this one or after it. Only the process inside returns from
// the stage.
__attribute__((constructor)) static void bivouac_stage(void) {
	struct plan p;
	enum role r = nsexec ? role() : ROLE_NONE;
	if (r == ROLE_NONE)
		return;
	if (!is_inside())
		nsexec();
	plan_load(&p);
	if (r == ROLE_INIT)
		make_container(&p, descriptor("_LIBCONTAINER_SYNCPIPE"));
	else
		confine(&p, descriptor("_LIBCONTAINER_SYNCPIPE"));
	if (p.h->flags & PLAN_INIT)
		become_init();
	plan_execute(&p);
}
