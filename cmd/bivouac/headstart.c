// A head start for the keeper of `bivouac run` and `bivouac restore`: this process forks before Go boots in it, and Go boots in both at the same
// time, in one as the keeper. That needs the id map, which Go works out; a file of the store remembers it together with all that it was
// worked out from (headstart.go). If any of that is different, or anything at all fails here, Go starts the keeper.
#define _GNU_SOURCE
#include "headstart.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { CALLER_FD = 3 }; // where a keeper expects its socket

// Of package userns. It is weak for cgo, which links this package alone for a look at it.
extern void bivouac_enter(const char *maps) __attribute__((weak));

struct headstart headstart = {-1, -1, -1};

static const char *variable(const char *name) {
	const char *value = getenv(name);
	return value ? value : "";
}

// add_file adds what changes with a file: one that is missing is all zeros.
static int add_file(char *text, size_t size, const char *path) {
	struct stat st = {0};
	stat(path, &st);
	return snprintf(text, size, " %llx.%llx.%llx.%x.%llx.%lx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
	                (unsigned long long)st.st_size, st.st_mode, (unsigned long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

// add_helper adds a program of $PATH, as execvp(3) would find it.
static int add_helper(char *text, size_t size, const char *name) {
	char path[4096];
	for (const char *p = variable("PATH"), *end; p; p = *end ? end + 1 : NULL) {
		end = strchrnul(p, ':');
		int n = snprintf(path, sizeof path, "%.*s/%s", (int)(end - p), p, name);
		if (n > 0 && (size_t)n < sizeof path && access(path, X_OK) == 0)
			return add_file(text, size, path);
	}
	return snprintf(text, size, " -");
}

// What decides on the map: who the user is and what was chosen, the user namespace, the subordinate ids, and the helpers.
int headstart_key(char *text, size_t size) {
	struct stat space = {0};
	size_t n = 0;
	stat("/proc/self/ns/user", &space);
	for (int i = 0; i < 6 && n < size; i++) {
		char *to = text + n;
		int added = i == 0 ? snprintf(to, size - n, "1 %d %d %llx %s %s", (int)geteuid(), (int)getegid(), (unsigned long long)space.st_ino,
		                              variable("USER"), variable("BIVOUAC_IDMAP"))
		          : i == 1 ? add_file(to, size - n, "/etc/passwd")
		          : i == 2 ? add_file(to, size - n, "/etc/subuid")
		          : i == 3 ? add_file(to, size - n, "/etc/subgid")
		                   : add_helper(to, size - n, i == 4 ? "newuidmap" : "newgidmap");
		if (added < 0)
			return 0;
		n += added;
	}
	return n < size && !strchr(text, '\n');
}

int headstart_file(char *path, size_t size) {
	static const char *const rules[][2] = {{"BIVOUAC_HOME", ""}, {"XDG_DATA_HOME", "/bivouac"}, {"HOME", "/.local/share/bivouac"}};
	for (size_t i = 0; i < 3; i++) {
		const char *dir = variable(rules[i][0]);
		if (!*dir)
			continue;
		int n = snprintf(path, size, "%s%s/idmap", dir, rules[i][1]);
		return dir[0] == '/' && n > 0 && (size_t)n < size;
	}
	return 0;
}

// remembered reads the map for this key into text.
static int remembered(char *text, size_t size) {
	char path[4096], key[2048], content[sizeof key + 8192];
	if (!headstart_file(path, sizeof path) || !headstart_key(key, sizeof key))
		return 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return 0;
	struct stat st;
	ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() ? read(fd, content, sizeof content - 1) : -1;
	close(fd);
	size_t length = strlen(key);
	if (n <= 0 || (size_t)n <= length + 2 || memcmp(content, key, length) != 0 || content[length] != '\n' || content[n - 1] != '\n')
		return 0;
	content[n - 1] = 0;
	int used = snprintf(text, size, "%s", content + length + 1);
	return used > 0 && (size_t)used < size && !strchr(text, '\n');
}

// rename_process has Go and ps(1) see `bivouac keeper`: the strings of the command line lie one behind the other.
static void rename_process(int argc, char **argv) {
	static char words[] = "bivouac\0keeper";
	char *begin = argv[0], *end = argv[0];
	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	size_t room = end - begin, length = room < sizeof words ? room : sizeof words;
	memset(begin, 0, room);
	memcpy(begin, words, length);
	begin[room - 1] = 0;
	argv[0] = words;
	argv[1] = words + sizeof "bivouac";
	for (int i = 2; i < argc; i++)
		argv[i] = words + sizeof words - 1; // empty
}

// become_keeper takes along nothing but the null device, the pipe of its errors, and the socket. It returns as process 1
// of the keeper's namespaces.
static void become_keeper(int socket, int errors, const char *maps) {
	int null = open("/dev/null", O_RDWR);
	int moved = fcntl(socket, F_DUPFD, 10), said = fcntl(errors, F_DUPFD, 10);
	if (null < 0 || moved < 0 || said < 0)
		_exit(125);
	setsid(); // the terminal's Ctrl-C and hang-up are for the caller alone
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(said, 2) < 0 || dup2(moved, CALLER_FD) < 0)
		_exit(125);
	syscall(SYS_close_range, CALLER_FD + 1, ~0U, 0);
	bivouac_enter(maps);
}

__attribute__((constructor)) static void start_keeper(int argc, char **argv) {
	static char maps[8192];
	int sockets[2], errors[2];
	if (argc < 3 || (strcmp(argv[1], "run") != 0 && strcmp(argv[1], "restore") != 0) || !bivouac_enter || !remembered(maps, sizeof maps))
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return;
	if (pipe2(errors, O_CLOEXEC) == 0) {
		pid_t pid = fork();
		if (pid == 0) {
			rename_process(argc, argv);
			become_keeper(sockets[1], errors[1], maps);
			return;
		}
		if (pid > 0)
			headstart = (struct headstart){pid, sockets[0], errors[0]};
		else
			close(errors[0]);
		close(errors[1]);
	}
	if (headstart.pid < 0)
		close(sockets[0]);
	close(sockets[1]);
}
