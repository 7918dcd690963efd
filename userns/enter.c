/*
 * The way into the keeper's namespaces.
 *
 * A user namespace can only be entered by a process with one thread, and a Go program has several before its first line
 * runs. So the step is a constructor of the same binary. It does nothing unless the environment holds _BIVOUAC_ENTER,
 * and then it runs before the Go runtime exists:
 *
 *   P, the process that was started, stays outside of the process namespace: it makes the namespaces, has its ids
 *   mapped, starts C, lets go of every descriptor but 0-2, waits for C and ends with C's status.
 *   C, process 1 inside, gets its own /proc, and returns from the constructor: the Go program starts in C only.
 *
 * C dies with P, because the kernel sends it SIGKILL then; P ends when C has, which is after every other process of the
 * namespace is gone. Every failure is one line on standard error and exit code 125, Docker's "the engine failed".
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "enter.h"

#define VARIABLE "_BIVOUAC_ENTER"
#define FAILED 125

#ifndef SYS_close_range
#define SYS_close_range 436 /* the same number on every architecture */
#endif

extern char **environ;

/* A descriptor pair: both ends close on exec. */
struct channel {
	int in, out;
};

/* ---- failing ---------------------------------------------------------- */

__attribute__((noreturn, format(printf, 2, 3))) static void fail(const char *remedy, const char *format, ...)
{
	char line[2048];
	va_list args;
	int n = snprintf(line, sizeof line, "bivouac: ");

	va_start(args, format);
	n += vsnprintf(line + n, sizeof line - n, format, args);
	va_end(args);
	if (n < (int)sizeof line && remedy[0] != 0)
		n += snprintf(line + n, sizeof line - n, "; %s", remedy);
	if (n > (int)sizeof line - 1)
		n = sizeof line - 1;
	for (int i = 0; i < n; i++) /* what other programs said may have several lines */
		if ((unsigned char)line[i] < ' ')
			line[i] = ' ';
	line[n] = '\n';
	if (write(STDERR_FILENO, line, n + 1) < 0)
		_exit(FAILED);
	_exit(FAILED);
}

/* Whether the sysctl file exists and starts with value. */
static int sysctl_is(const char *path, char value)
{
	char first = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, &first, 1) != 1)
		first = 0;
	close(fd);
	return first == value;
}

/* The command that mends a refused namespace, id map or mount: the kernel has one errno for several switches. */
static const char *remedy_for(int err)
{
	if (err == ENOSPC || err == EUSERS || sysctl_is("/proc/sys/user/max_user_namespaces", '0'))
		return "the machine's limit of namespaces is reached: sudo sysctl -w user.max_user_namespaces=28633";
	if (err != EPERM && err != EACCES)
		return "";
	if (sysctl_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1'))
		return "AppArmor keeps ordinary users from using namespaces: "
		       "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
	if (sysctl_is("/proc/sys/kernel/unprivileged_userns_clone", '0'))
		return "the kernel keeps ordinary users from making user namespaces: "
		       "sudo sysctl -w kernel.unprivileged_userns_clone=1";
	return "an outer container, its seccomp profile or a chroot forbids it: allow user namespaces there";
}

__attribute__((noreturn)) static void fail_call(const char *what)
{
	int err = errno;

	fail(remedy_for(err), "%s: %s", what, strerror(err));
}

/* ---- reading the request ---------------------------------------------- */

/*
 * Finds the variable and takes it out of the environment, so that no child acts on it again. The slot becomes an empty
 * string, which Go and both C libraries pass over: closing the gap instead would move the array's end away from the
 * auxiliary vector, which the Go runtime looks for right behind it.
 */
static int take_request(struct bivouac_map *uids, struct bivouac_map *gids)
{
	static const size_t length = sizeof VARIABLE; /* with "=" in place of the closing 0 */
	int found = 0;

	for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
		if (strncmp(*entry, VARIABLE "=", length) != 0)
			continue;
		if (!found && !bivouac_enter_parse(*entry + length, uids, gids))
			fail("unset it: bivouac sets it for its own children", VARIABLE " has no id maps in it: \"%.80s\"",
			     *entry + length);
		found = 1;
		memset(*entry, 0, strlen(*entry));
	}
	return found;
}

/* ---- mapping ids ------------------------------------------------------ */

static int is_single(const struct bivouac_map *m)
{
	return m->n == 1 && m->extents[0].size == 1;
}

static void write_file(const char *path, const char *text, size_t length)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, length) != (ssize_t)length) {
		int err = errno;

		fail(remedy_for(err), "write %s: %s", path, strerror(err));
	}
	close(fd);
}

/* Writes a map of /proc/PID in one call: the kernel takes no second one, and less than a page. */
static void write_map(pid_t pid, const char *file, const struct bivouac_map *m)
{
	char path[64], text[4096];
	size_t n = 0;

	for (int i = 0; i < m->n; i++) {
		const struct bivouac_extent *e = &m->extents[i];

		n += (size_t)snprintf(text + n, sizeof text - n, "%u %u %u\n", e->inside, e->outside, e->size);
		if (n >= sizeof text)
			fail("", "write %s: %d ranges are more than the kernel takes", file, m->n);
	}
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	write_file(path, text, n);
}

/* Becomes newuidmap or newgidmap for pid. */
__attribute__((noreturn)) static void exec_helper(const char *tool, pid_t pid, const struct bivouac_map *m)
{
	static char numbers[3 * BIVOUAC_EXTENTS + 1][12];
	static char *argv[3 * BIVOUAC_EXTENTS + 3];
	int n = 0;

	snprintf(numbers[n++], sizeof numbers[0], "%d", (int)pid);
	for (int i = 0; i < m->n; i++) {
		snprintf(numbers[n++], sizeof numbers[0], "%u", m->extents[i].inside);
		snprintf(numbers[n++], sizeof numbers[0], "%u", m->extents[i].outside);
		snprintf(numbers[n++], sizeof numbers[0], "%u", m->extents[i].size);
	}
	argv[0] = (char *)tool;
	for (int i = 0; i < n; i++)
		argv[i + 1] = numbers[i];
	execvp(tool, argv);
	dprintf(STDERR_FILENO, "%s: %s (Debian: sudo apt-get install uidmap)\n", tool, strerror(errno));
	_exit(FAILED);
}

/*
 * Forks what will write one map of this process once "go" carries a byte: from outside of the namespace, because only
 * there it has a right to more than the caller's own id. Root of an outer user namespace writes it itself.
 */
static pid_t start_mapper(const char *tool, const char *file, const struct bivouac_map *m, struct channel go, int errors)
{
	pid_t target = getpid(), pid = fork();
	char byte;

	if (pid < 0)
		fail_call("start a process that maps ids");
	if (pid > 0)
		return pid;
	close(go.out);
	if (dup2(errors, STDERR_FILENO) < 0 || read(go.in, &byte, 1) != 1)
		_exit(FAILED); /* the process to map is gone */
	if (geteuid() != 0)
		exec_helper(tool, target, m);
	write_map(target, file, m);
	_exit(0);
}

static struct channel open_channel(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		fail_call("open a pipe");
	return (struct channel){.in = ends[0], .out = ends[1]};
}

/* Waits for a child and returns its status as a shell would: exit code, or 128 and the signal. */
static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail_call("wait for a process");
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reads what the mappers say until both have ended, and keeps as much as fits. */
static void read_errors(int fd, char *text, size_t size)
{
	char rest[256];
	size_t n = 0;

	for (;;) {
		ssize_t got = n < size - 1 ? read(fd, text + n, size - 1 - n) : read(fd, rest, sizeof rest);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (n < size - 1)
			n += (size_t)got;
	}
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = 0;
}

/* ---- P: outside ------------------------------------------------------- */

static void make_namespaces(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) < 0)
		fail_call("make user, mount and process namespaces");
}

/*
 * With one id on each side the process may write its maps itself, if it gives up setgroups(2) first (Linux 3.19):
 * dropping a group could open files that are closed to that group.
 */
static void unshare_single(const struct bivouac_map *uids, const struct bivouac_map *gids)
{
	make_namespaces();
	write_file("/proc/self/setgroups", "deny", 4);
	write_map(getpid(), "uid_map", uids);
	write_map(getpid(), "gid_map", gids);
}

static void unshare_mapped(const struct bivouac_map *uids, const struct bivouac_map *gids)
{
	struct channel go = open_channel(), errors = open_channel();
	char said[1024];
	pid_t uid_mapper = start_mapper("newuidmap", "uid_map", uids, go, errors.out);
	pid_t gid_mapper = start_mapper("newgidmap", "gid_map", gids, go, errors.out);

	make_namespaces();
	if (write(go.out, "go", 2) != 2)
		fail_call("start mapping ids");
	close(go.in);
	close(go.out);
	close(errors.out);
	read_errors(errors.in, said, sizeof said);
	close(errors.in);
	if ((wait_for(uid_mapper) | wait_for(gid_mapper)) != 0)
		fail("compare this user's lines in /etc/subuid and /etc/subgid, or do without: BIVOUAC_IDMAP=single", "map ids: %s",
		     said);
}

/*
 * Leaves the session of the caller's terminal, so that its Ctrl-C, Ctrl-Z and hang-up reach the caller alone, who then
 * ends the containers in order. Not just an own process group: a background group that touches the terminal is stopped,
 * and process 1 of a namespace, which no stop signal reaches, would retry for ever. A group's leader cannot leave; C
 * does so on its own then.
 */
static int leave_session(void)
{
	return setsid() >= 0;
}

/* Waits for C with as little as possible in hand: the caller's socket must close when C and the caller let go of it. */
__attribute__((noreturn)) static void watch(pid_t inner, struct channel alive)
{
	char byte;

	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	close(alive.out);
	while (read(alive.in, &byte, 1) < 0 && errno == EINTR)
		;
	if (syscall(SYS_close_range, 3, ~0U, 0) < 0)
		for (int fd = (int)sysconf(_SC_OPEN_MAX) - 1; fd > 2; fd--)
			close(fd);
	if (chdir("/") < 0)
		_exit(FAILED);
	prctl(PR_SET_NAME, "bivouac-enter");
	_exit(wait_for(inner));
}

/* ---- C: inside -------------------------------------------------------- */

/* Becomes root inside. Supplementary groups stay: they are the user's right to files of the host. */
static void become_root(void)
{
	if ((getegid() != 0 || getgid() != 0) && setresgid(0, 0, 0) < 0)
		fail_call("become group 0 of the namespace");
	if ((geteuid() != 0 || getuid() != 0) && setresuid(0, 0, 0) < 0)
		fail_call("become user 0 of the namespace");
}

/*
 * Asks to be killed when P ends. The kernel forgets that wish when ids change, so become_root comes first. P may have
 * ended already: then nobody reads the pipe.
 */
static void die_with_parent(struct channel alive)
{
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);

	close(alive.in);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		fail_call("ask to end with the parent");
	if (write(alive.out, "", 1) != 1)
		_exit(FAILED);
	close(alive.out);
	signal(SIGPIPE, before);
}

static void mount_proc(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		fail_call("keep mounts from spreading to the host: mount /");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
		return;
	if (errno == EPERM && !sysctl_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1'))
		fail("an outer container hides parts of its /proc: start that one with --security-opt systempaths=unconfined "
		     "(podman: unmask=ALL, Kubernetes: procMount: Unmasked)",
		     "mount /proc: %s", strerror(EPERM));
	fail_call("mount /proc");
}

static void settle(struct channel alive, int own_session)
{
	become_root();
	die_with_parent(alive);
	if (own_session)
		setpgid(0, 0);
	else
		setsid();
	mount_proc();
}

static void enter(const struct bivouac_map *uids, const struct bivouac_map *gids)
{
	struct channel alive;
	int own_session;
	pid_t inner;

	signal(SIGCHLD, SIG_DFL); /* ignored, it would lose every exit status */
	own_session = leave_session();
	if (is_single(uids) && is_single(gids))
		unshare_single(uids, gids);
	else
		unshare_mapped(uids, gids);
	alive = open_channel();
	inner = fork();
	if (inner < 0)
		fail_call("start process 1 of the namespace");
	if (inner > 0)
		watch(inner, alive);
	settle(alive, own_session);
}

static struct bivouac_map uids, gids;

void bivouac_enter(const char *text)
{
	if (!bivouac_enter_parse(text, &uids, &gids))
		fail("", "there are no id maps in \"%.80s\"", text);
	enter(&uids, &gids);
}

__attribute__((constructor)) static void enter_if_asked(void)
{
	if (take_request(&uids, &gids))
		enter(&uids, &gids);
}
