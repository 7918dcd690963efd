// The mounts of a container, by handles: a target is opened inside of the root by the kernel (openat2(2), Linux 5.6), and a
// mount is made apart and moved there (fsopen(2), open_tree(2), mount_setattr(2), Linux 5.12). No path of the image is
// ever followed out of the root.
#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { ATTEMPTS = 32 };

// inside opens a path of the container's root. EAGAIN says that something was renamed meanwhile.
static int inside(int root, const char *path, uint64_t flags, uint64_t resolve) {
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve};
	int fd = -1;
	errno = EAGAIN;
	for (int i = 0; fd < 0 && errno == EAGAIN && i < ATTEMPTS; i++)
		fd = syscall(SYS_openat2, root, path, &how, sizeof how);
	return fd;
}

// parent_of opens the directory that path lies in, and makes it if needed. It sets name to the rest of the path.
static int parent_of(int root, char *path, uint64_t resolve, const char **name) {
	char *end = strrchr(path, '/');
	int fd = -1;
	*name = end + 1;
	*end = 0;
	fd = inside(root, *path ? path : "/", O_PATH | O_DIRECTORY, resolve);
	if (fd < 0 && errno == ENOENT && *path) {
		const char *inner;
		int above = parent_of(root, path, resolve, &inner);
		if (above >= 0 && (mkdirat(above, inner, 0755) == 0 || errno == EEXIST))
			fd = inside(root, path, O_PATH | O_DIRECTORY, resolve);
		if (above >= 0)
			close(above);
	}
	*end = '/';
	return fd;
}

// open_target opens what is to be mounted on, and makes it if needed: as a file or as a directory.
static int open_target(int root, char *path, uint64_t resolve, int file) {
	const char *name;
	int fd = inside(root, path, O_PATH, resolve);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	int above = parent_of(root, path, resolve, &name);
	if (above < 0)
		return -1;
	int made = file ? openat(above, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644) : mkdirat(above, name, 0755);
	if (made >= 0 && file)
		close(made);
	close(above);
	return made < 0 ? -1 : inside(root, path, O_PATH, resolve);
}

// is_allowed refuses to cover parts of a proc file system, where programs look for the truth about themselves.
static int is_allowed(int target, const struct plan_step *s) {
	struct statfs fs;
	if (s->flags & STEP_PLAIN)
		return 1;
	if (fstatfs(target, &fs) < 0)
		return 0;
	errno = EPERM;
	return fs.f_type != PROC_SUPER_MAGIC;
}

static int set_attributes(int mount, unsigned int flags, uint64_t attributes, uint64_t propagation) {
	struct mount_attr a = {.attr_set = attributes, .propagation = propagation};
	return a.attr_set || a.propagation ? syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | flags, &a, sizeof a) : 0;
}

static int move(int mount, int target) {
	return syscall(SYS_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

// configure sets the options of a superblock, as mount(2) has them: name=value or name, separated by commas.
static int configure(int fs, char *options) {
	char *rest;
	for (char *o = strtok_r(options, ",", &rest); o; o = strtok_r(NULL, ",", &rest)) {
		char *value = strchr(o, '=');
		if (value)
			*value++ = 0;
		if (syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, o, value, 0) < 0)
			return -1;
	}
	return syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

// new_mount makes a mount of a new superblock that is nowhere yet.
static int new_mount(const char *type, char *options, uint64_t attributes) {
	int fs = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int mount = configure(fs, options) < 0 ? -1 : syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	int failure = errno;
	close(fs);
	errno = failure;
	return mount;
}

static int clone_mount(int directory, const char *source, unsigned int flags) {
	return syscall(SYS_open_tree, directory, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

// A mount that becomes read-only late stays open in late until then.
static int step_mount(int root, const struct plan_step *s, char **strings, int *late) {
	int mount = new_mount(strings[0], strings[2], s->attributes);
	if (mount < 0)
		return -1;
	int target = open_target(root, strings[1], s->flags & STEP_PLAIN ? RESOLVE_NO_SYMLINKS : 0, 0);
	if (target < 0 || !is_allowed(target, s) || move(mount, target) < 0)
		return -1;
	close(target);
	if (s->flags & STEP_LATE)
		*late = mount;
	else
		close(mount);
	return 0;
}

static int step_bind(int root, const struct plan_step *s, char **strings) {
	struct stat st;
	int mount = clone_mount(AT_FDCWD, strings[0], s->flags & STEP_RECURSIVE ? AT_RECURSIVE : 0);
	if (mount < 0 || fstat(mount, &st) < 0)
		return -1;
	int target = open_target(root, strings[1], 0, !S_ISDIR(st.st_mode));
	if (target < 0 || !is_allowed(target, s) || move(mount, target) < 0 ||
	    set_attributes(mount, s->flags & STEP_DEEP ? AT_RECURSIVE : 0, s->attributes, 0) < 0 ||
	    set_attributes(mount, s->flags & STEP_TREE ? AT_RECURSIVE : 0, 0, s->propagation) < 0)
		return -1;
	close(target);
	close(mount);
	return 0;
}

static int step_link(int root, const struct plan_step *s, char **strings) {
	const char *name;
	int above = parent_of(root, strings[1], 0, &name);
	if (above < 0 || (s->flags & STEP_REPLACE && unlinkat(above, name, 0) < 0 && errno != ENOENT) ||
	    (symlinkat(strings[0], above, name) < 0 && errno != EEXIST))
		return -1;
	close(above);
	return 0;
}

static int step(const struct plan *p, int root, uint32_t i, int *late) {
	const struct plan_step *s = &p->steps[i];
	char **strings = p->stage + 3 + 3 * i;
	switch (s->kind) {
	case STEP_MOUNT:
		return step_mount(root, s, strings, late);
	case STEP_BIND:
		return step_bind(root, s, strings);
	case STEP_LINK:
		return step_link(root, s, strings);
	}
	return 0;
}

// The mounts that become read-only late, by the number of their step; 0 where there is none.
static int *late_mounts;

void stage_mounts(const struct plan *p, int root) {
	late_mounts = calloc(p->h->steps + 1, sizeof *late_mounts);
	if (!late_mounts)
		plan_fail(STAGE_PLAN, 125);
	for (uint32_t i = 0; i < p->h->steps; i++) {
		int failed = step(p, root, i, &late_mounts[i]) < 0;
		if (failed && !(p->steps[i].flags & STEP_OR_NEXT && (errno == EPERM || errno == EBUSY)))
			plan_fail_step(i);
		if (!failed && p->steps[i].flags & STEP_OR_NEXT)
			i++;
	}
}

// ---- after the change of root: paths are the container's ----

static int step_readonly(const char *path) {
	int target = open(path, O_PATH | O_CLOEXEC);
	if (target < 0)
		return errno == ENOENT ? 0 : -1;
	int mount = clone_mount(target, "", AT_EMPTY_PATH | AT_RECURSIVE);
	if (mount < 0 || set_attributes(mount, 0, MOUNT_ATTR_RDONLY, 0) < 0 || move(mount, target) < 0)
		return -1;
	close(mount);
	close(target);
	return 0;
}

// empty_directory returns a mount of an empty directory that nothing can be written to: the first time a new one, which
// stays open in shared, then clones of that.
static int empty_directory(int *shared) {
	char one[] = "source=tmpfs,ro,nr_blocks=1,nr_inodes=1", two[] = "source=tmpfs,ro,nr_blocks=1,nr_inodes=2";
	if (*shared > 0)
		return clone_mount(*shared, "", AT_EMPTY_PATH);
	*shared = new_mount("tmpfs", one, MOUNT_ATTR_RDONLY);
	if (*shared < 0) // some kernels want two inodes
		*shared = new_mount("tmpfs", two, MOUNT_ATTR_RDONLY);
	return *shared;
}

static int null_device(void) {
	struct stat st;
	int fd = open("/dev/null", O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	errno = EBADF;
	return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ? fd : -1;
}

static int step_mask(const char *path, int *shared) {
	struct stat st;
	int target = open(path, O_PATH | O_CLOEXEC);
	if (target < 0)
		return errno == ENOENT ? 0 : -1;
	if (fstat(target, &st) < 0)
		return -1;
	int null = S_ISDIR(st.st_mode) ? -1 : null_device();
	int mount = S_ISDIR(st.st_mode) ? empty_directory(shared) : null < 0 ? -1 : clone_mount(null, "", AT_EMPTY_PATH);
	if (mount < 0 || move(mount, target) < 0)
		return -1;
	if (null >= 0)
		close(null);
	if (mount != *shared)
		close(mount);
	close(target);
	return 0;
}

void stage_restrictions(const struct plan *p) {
	int shared = 0;
	for (uint32_t i = 0; i < p->h->steps; i++) {
		const char *target = p->stage[3 + 3 * i + 1];
		if (late_mounts[i] > 0 && set_attributes(late_mounts[i], 0, MOUNT_ATTR_RDONLY, 0) < 0)
			plan_fail_step(i);
		if (p->steps[i].kind == STEP_READONLY && step_readonly(target) < 0)
			plan_fail_step(i);
	}
	struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY};
	if (p->h->flags & PLAN_READONLY && syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &readonly, sizeof readonly) < 0)
		plan_fail(STAGE_PIVOT, 125);
	for (uint32_t i = 0; i < p->h->steps; i++)
		if (p->steps[i].kind == STEP_MASK && step_mask(p->stage[3 + 3 * i + 1], &shared) < 0)
			plan_fail_step(i);
}
