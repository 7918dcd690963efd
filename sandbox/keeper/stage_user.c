// The program's user, working directory and capabilities.
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { STRING_DIRECTORY = 2 };

// own_streams gives the standard streams to the program's user, as far as they can be given.
static void own_streams(uid_t uid) {
	struct stat st;
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &st) < 0 || st.st_uid == uid || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
			continue;
		if (fchown(fd, uid, -1) < 0 && errno != EPERM && errno != EROFS)
			plan_fail(STAGE_USER, 125);
	}
}

static void bound(uint64_t keep) {
	for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if (!(keep >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			plan_fail(STAGE_CAPABILITIES, 125);
}

// permit sets the permitted and the effective set. No inheritable set means no ambient one.
static void permit(uint64_t set) {
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{(uint32_t)set, (uint32_t)set, 0}, {(uint32_t)(set >> 32), (uint32_t)(set >> 32), 0}};
	if (syscall(SYS_capset, &header, data) < 0)
		plan_fail(STAGE_CAPABILITIES, 125);
}

// enter_directory makes sure that the directory is inside of the root (CVE-2024-21626): the kernel says "(unreachable)"
// of one that is not.
static void check_directory(void) {
	char path[4096];
	long n = syscall(SYS_getcwd, path, sizeof path);
	errno = n < 0 ? errno : EXDEV;
	if (n < 0 || path[0] != '/')
		plan_fail(STAGE_DIRECTORY, 125);
}

void stage_user(const struct plan *p) {
	const struct plan_header *h = p->h;
	const char *directory = p->stage[STRING_DIRECTORY];
	// As root first, and where root may not, as the user.
	int later = chdir(directory) < 0;
	if (later && errno != EACCES && errno != EPERM)
		plan_fail(STAGE_DIRECTORY, 125);
	bound(h->bounding);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		plan_fail(STAGE_CAPABILITIES, 125);
	own_streams(h->uid);
	if ((h->flags & PLAN_GROUPS && syscall(SYS_setgroups, h->groups, p->groups) < 0) || syscall(SYS_setresgid, h->gid, h->gid, h->gid) < 0 ||
	    syscall(SYS_setresuid, h->uid, h->uid, h->uid) < 0)
		plan_fail(STAGE_USER, 125);
	if (later && chdir(directory) < 0)
		plan_fail(STAGE_DIRECTORY, 125);
	check_directory();
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		plan_fail(STAGE_CAPABILITIES, 125);
	permit(h->permitted);
}
