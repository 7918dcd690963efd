// Joins a container from outside and executes CRIU there: in its user, mount, pid, network, UTS and cgroup namespaces, but
// not in its IPC namespace, as CRIU dumps and makes anew what is in another one than its own. The keeper starts this binary
// with JOIN_VARIABLE set; this runs before Go does, since a process with threads cannot enter a user namespace.
#define _GNU_SOURCE
#include "join.h"
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static _Noreturn void fail(int stage) {
	struct init_report r = {stage, errno, 0};
	(void)!write(JOIN_REPORT_FD, &r, sizeof r);
	_exit(125);
}

// await_container returns a pidfd of the container's first process. This process was made while there was none yet.
static int await_container(void) {
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	int fd;
	if (recvmsg(JOIN_REPORT_FD, &m, MSG_CMSG_CLOEXEC) <= 0 || !CMSG_FIRSTHDR(&m))
		_exit(125); // there will be none
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	return fd;
}

// enter becomes root of the container's ids. setns(2) with a pidfd needs Linux 5.8.
static void enter(int pidfd, int flags) {
	int kinds = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWCGROUP;
	if (setns(pidfd, kinds | (flags & JOIN_TIME ? CLONE_NEWTIME : 0)) < 0)
		fail(STAGE_JOIN);
	(void)setgroups(0, NULL); // is denied to users with a single id, who have no others
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		fail(STAGE_USER);
	close(pidfd);
}

// notify installs the filter, and gives its listener to the keeper.
static void notify(void) {
	struct stat st;
	if (fstat(JOIN_FILTER_FD, &st) < 0)
		fail(STAGE_NOTIFY);
	if (st.st_size == 0)
		return;
	void *code = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, JOIN_FILTER_FD, 0);
	struct sock_fprog program = {st.st_size / sizeof(struct sock_filter), code};
	if (code == MAP_FAILED)
		fail(STAGE_NOTIFY);
	int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	if (fd < 0 || plan_send_file(JOIN_REPORT_FD, fd) < 0)
		fail(STAGE_NOTIFY);
	close(fd);
}

static int is_null_device(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3); }

// replace_null has files that are the host's null device be the container's: as a stream of a restored process, a file from
// outside could not be checkpointed again.
static void replace_null(void) {
	struct stat st;
	for (int fd = JOIN_FILES_FD; fstat(fd, &st) == 0; fd++) {
		if (!is_null_device(&st))
			continue;
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		errno = null < 0 ? errno : EBADF;
		if (null < 0 || fstat(null, &st) < 0 || !is_null_device(&st) || dup3(null, fd, 0) < 0)
			fail(STAGE_JOIN);
		close(null);
	}
}

// become executes CRIU, which ends with the process that waits for it, and whose session keyring is its own: what it
// restores inherits that.
static _Noreturn void become(int exe, char **argv) {
	extern char **environ;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || unsetenv(JOIN_VARIABLE) < 0)
		fail(STAGE_FORK);
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	replace_null();
	fcntl(JOIN_REPORT_FD, F_SETFD, FD_CLOEXEC);
	notify();
	close(JOIN_FILTER_FD);
	syscall(SYS_execveat, exe, "", argv, environ, AT_EMPTY_PATH);
	fail(STAGE_EXEC);
}

static _Noreturn void join(int flags, int exe, char **argv) {
	int status;
	enter(await_container(), flags);
	pid_t child = fork();
	if (child < 0)
		fail(STAGE_FORK);
	if (child == 0)
		become(exe, argv);
	syscall(SYS_close_range, 0, ~0U, 0); // CRIU's are for it alone
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			_exit(125);
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

__attribute__((constructor)) static void bivouac_join(int argc, char **argv) {
	const char *value = getenv(JOIN_VARIABLE);
	int flags, exe;
	if (value && argc > 0 && sscanf(value, "%d %d", &flags, &exe) == 2)
		join(flags, exe, argv);
}
