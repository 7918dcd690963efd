// The last step into a container. libcontainer executes this binary again inside, as the container's first process: in its
// namespaces, with its user, capabilities and limits, no_new_privs set. This constructor runs before Go starts (Go never
// does): it installs the seccomp filters that the keeper compiled, and executes the program, or with PLAN_INIT stays
// above it as pid 1, forwards signals and reaps orphans.
//
// Descriptors: 3 the plan, 4 a socket to the keeper. None of them outlives the exec.
#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static _Noreturn void report(struct init_report r, int status) {
	(void)!write(REPORT_FD, &r, sizeof r);
	_exit(status);
}

void plan_fail(int stage, int status) { report((struct init_report){stage, errno, 0}, status); }

void plan_fail_step(int step) { report((struct init_report){STAGE_STEP, errno, step}, 125); }

static const char *variable(char **env, const char *name) {
	size_t n = strlen(name);
	for (; *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

// search executes argv[0] from the directories of path, as execvp(3) does. It returns on failure with errno set: EACCES
// where that was met and nothing better found.
static void search(char **argv, char **env, const char *path) {
	static char file[8192];
	size_t name = strlen(argv[0]);
	int denied = 0;
	errno = ENOENT;
	for (const char *p = path, *end; p; p = *end ? end + 1 : NULL) {
		end = strchrnul(p, ':');
		size_t dir = end - p;
		if (dir + name + 3 > sizeof file)
			continue;
		memcpy(file, dir ? p : ".", dir ? dir : 1);
		dir = dir ? dir : 1;
		file[dir] = '/';
		memcpy(file + dir + 1, argv[0], name + 1);
		execve(file, argv, env);
		if (errno == EACCES)
			denied = 1;
		else if (errno != ENOENT && errno != ENOTDIR)
			return;
	}
	errno = denied ? EACCES : ENOENT;
}

static _Noreturn void execute(char **argv, char **env) {
	if (strchr(argv[0], '/'))
		execve(argv[0], argv, env);
	else
		search(argv, env, variable(env, "PATH") ? variable(env, "PATH") : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	plan_fail(STAGE_EXEC, errno == ENOENT || errno == ENOTDIR ? 127 : 126);
}

int plan_send_file(int socket, int fd) {
	char byte = 'n', control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return sendmsg(socket, &m, 0);
}

static void install(const struct plan_header *p, char *filters) {
	struct sock_fprog notify = {p->notify, (void *)filters};
	struct sock_fprog filter = {p->filter, (void *)(filters + p->notify * sizeof(struct sock_filter))};
	if (notify.len) {
		int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, p->notify_flags, &notify);
		if (fd < 0 && errno == EINVAL) // before Linux 5.19 there are not all of the flags
			fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &notify);
		if (fd < 0 || plan_send_file(REPORT_FD, fd) < 0)
			plan_fail(STAGE_NOTIFY, 125);
		close(fd);
	}
	if (filter.len && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, p->filter_flags, &filter) < 0)
		plan_fail(STAGE_FILTER, 125);
}

// terminal puts the program into the foreground of its terminal.
static void terminal(void) {
	sigset_t block, old;
	sigemptyset(&block);
	sigaddset(&block, SIGTTOU);
	setpgid(0, 0);
	sigprocmask(SIG_BLOCK, &block, &old);
	tcsetpgrp(0, getpid());
	sigprocmask(SIG_SETMASK, &old, NULL);
}

// reap waits for every child that has ended. It ends this process with the program's status, and so the container.
static void reap(pid_t program) {
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != program)
			continue;
		_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	}
}

// stay is pid 1 above the program.
static void stay(pid_t program, const sigset_t *all) {
	close(REPORT_FD);
	for (;;) {
		siginfo_t info;
		int s = sigwaitinfo(all, &info);
		if (s == SIGCHLD)
			reap(program);
		else if (s > 0)
			kill(program, s);
	}
}

// become_root makes this the root of a tree that CRIU dumps as a whole: its session is in the tree, and so is who loses
// their parent.
static void become_root(void) {
	if (setsid() < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		plan_fail(STAGE_CHECKPOINT, 125);
}

static void fork_program(const struct plan_header *h) {
	sigset_t all, old;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	pid_t program = h->flags & PLAN_ADOPT ? (pid_t)h->adopt : fork();
	if (program < 0)
		plan_fail(STAGE_FORK, 125);
	if (program > 0)
		stay(program, &all);
	if (h->flags & PLAN_TERMINAL)
		terminal();
	if (h->flags & PLAN_TREE)
		become_root();
	sigprocmask(SIG_SETMASK, &old, NULL);
}

// strings_of fills a vector with n strings that start at s, and returns what is behind them.
static char *strings_of(char **vector, size_t n, char *s, const char *end) {
	for (size_t i = 0; i < n; i++) {
		char *zero = s < end ? memchr(s, 0, end - s) : NULL;
		if (!zero) {
			errno = EBADMSG;
			plan_fail(STAGE_PLAN, 125);
		}
		vector[i] = s;
		s = zero + 1;
	}
	vector[n] = NULL;
	return s;
}

static size_t padded(size_t n) { return (n + 7) & ~(size_t)7; }

void plan_load(struct plan *p) {
	struct stat st;
	if (fstat(PLAN_FD, &st) < 0)
		plan_fail(STAGE_PLAN, 125);
	char *base = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, PLAN_FD, 0);
	if (base == MAP_FAILED)
		plan_fail(STAGE_PLAN, 125);
	const struct plan_header *h = (void *)base;
	size_t steps = sizeof *h, groups = 0, text = 0, filters = 0, size = 0;
	if ((size_t)st.st_size >= sizeof *h) {
		groups = steps + h->steps * sizeof(struct plan_step);
		text = groups + padded(h->groups * sizeof(uint32_t));
		filters = text + h->strings;
		size = filters + ((size_t)h->notify + h->filter) * sizeof(struct sock_filter);
	}
	if (size != (size_t)st.st_size || h->magic != PLAN_MAGIC || !h->argc) {
		errno = EBADMSG;
		plan_fail(STAGE_PLAN, 125);
	}
	size_t stage = h->flags & PLAN_STAGE ? 3 + 3 * (size_t)h->steps : 0;
	char **vectors = calloc((size_t)h->argc + h->envc + stage + 3, sizeof *vectors);
	if (!vectors)
		plan_fail(STAGE_PLAN, 125);
	*p = (struct plan){h, (void *)(base + steps), (void *)(base + groups), vectors, vectors + h->argc + 1, vectors + h->argc + h->envc + 2, base + filters};
	char *s = strings_of(p->argv, h->argc, base + text, p->filters);
	strings_of(p->stage, stage, strings_of(p->env, h->envc, s, p->filters), p->filters);
}

void plan_execute(const struct plan *p) {
	close(PLAN_FD);
	fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
	syscall(SYS_close_range, REPORT_FD + 1, ~0U, 0);
	// A session keyring of its own. Where the user's quota of keys is used up, it keeps the keeper's, which is empty.
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	install(p->h, p->filters);
	if (p->h->flags & PLAN_INIT)
		fork_program(p->h);
	execute(p->argv, p->env);
}

static void run(void) {
	struct plan p;
	plan_load(&p);
	plan_execute(&p);
}

__attribute__((constructor)) static void bivouac_init(void) {
	if (getenv("_BIVOUAC_INIT"))
		run();
}
