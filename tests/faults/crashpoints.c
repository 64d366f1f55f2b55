/* Crash points: numbers every libc call that changes something below one directory, and makes the n-th go wrong.
 *
 *     cc -shared -fPIC -O2 -o crashpoints.so crashpoints.c
 *     LD_PRELOAD=./crashpoints.so TAU_FAULT_DIR=/abs/dir TAU_FAULT_AT=17 TAU_FAULT_MODE=torn python script.py
 *
 * or, from a process that was started with the library preloaded, through tau_fault_arm() and its sisters (preload.py).
 * The calls themselves go straight to the kernel, so nothing here depends on how libc names its own versions.
 * A file counts when its path, as the kernel knows it, lies below the directory: descriptors need no bookkeeping.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OFF, COUNT, BEFORE, AFTER, TORN, EIO_M, ENOSPC_M, EACCES_M, EMFILE_M, LIE, SHORT, STOP, MODES };
static const char *MODE_NAMES[] = {"off", "count", "before", "after", "torn", "eio", "enospc", "eacces", "emfile", "lie", "short", "stop"};
enum kind { WRITE, TRUNCATE, SYNC, CREATE, OPEN, ADD, REMOVE, READ };

static char root[PATH_MAX];
static size_t root_length;
static enum mode mode = OFF;
static long target;
static int forever;
static int trace = -1;
static atomic_long counter;

/* ---- control ---- */

void tau_fault_arm(const char *directory, long at, int how, int for_ever, int trace_fd) {
    strncpy(root, directory, sizeof root - 1);
    root_length = strlen(root);
    target = at;
    forever = for_ever;
    trace = trace_fd;
    atomic_store(&counter, 0);
    mode = (enum mode)how;
}

void tau_fault_disarm(void) { mode = OFF; }
long tau_fault_count(void) { return atomic_load(&counter); }

__attribute__((constructor)) static void from_environment(void) {
    const char *directory = getenv("TAU_FAULT_DIR"), *at = getenv("TAU_FAULT_AT"), *how = getenv("TAU_FAULT_MODE");
    if (!directory || !how) return;
    size_t length = strlen(how);
    int for_ever = length > 8 && strcmp(how + length - 8, "-forever") == 0;
    size_t name = for_ever ? length - 8 : (length > 5 && strcmp(how + length - 5, "-once") == 0 ? length - 5 : length);
    for (int m = OFF; m < MODES; m++)
        if (strlen(MODE_NAMES[m]) == name && strncmp(MODE_NAMES[m], how, name) == 0) {
            tau_fault_arm(directory, at ? atol(at) : 0, m, for_ever, -1);
            return;
        }
    dprintf(2, "crashpoints: unknown TAU_FAULT_MODE %s\n", how);
    _exit(2);
}

__attribute__((destructor)) static void say(void) {
    if (mode == COUNT && getenv("TAU_FAULT_DIR")) dprintf(2, "crash points: %ld\n", tau_fault_count());
}

/* ---- does this call count, and is it the one? ---- */

static int below(const char *path) {
    return strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = 0;
    return n > 0;
}

static int full_path(int directory, const char *name, char *path) {
    if (name[0] == '/') return snprintf(path, PATH_MAX, "%s", name) > 0;
    if (directory == AT_FDCWD) {
        if (syscall(SYS_getcwd, path, PATH_MAX - 1) <= 0) return 0;
    } else if (!path_of(directory, path)) {
        return 0;
    }
    size_t length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "/%s", name);
    return 1;
}

static int error_of(enum kind kind) {
    switch (mode) {
    case EIO_M: return EIO;
    case ENOSPC_M: return kind == WRITE || kind == TRUNCATE || kind == SYNC || kind == CREATE || kind == ADD ? ENOSPC : 0;
    case EACCES_M: return kind == CREATE || kind == OPEN || kind == ADD || kind == REMOVE ? EACCES : 0;
    case EMFILE_M: return kind == CREATE || kind == OPEN ? EMFILE : 0;
    default: return 0;
    }
}

static int applies(enum kind kind) {
    switch (mode) {
    case OFF: return 0;
    case COUNT: case BEFORE: case AFTER: case TORN: case STOP: return kind != READ && kind != OPEN;
    case LIE: return kind != READ && kind != OPEN && kind != CREATE;
    case SHORT: return kind == WRITE;
    default: return error_of(kind) != 0;
    }
}

static void die(void) {
    for (;;) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

/* True when this call is the point. Kills at once for `before`, freezes for `stop`; `torn` is `before` for what cannot be torn. */
static int strike(enum kind kind, const char *name, const char *path) {
    long n = atomic_fetch_add(&counter, 1) + 1;
    if (trace >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %d %s %s\n", n, kind, name, path);
        syscall(SYS_write, trace, line, length);
    }
    if (n != target && !(forever && target > 0 && n > target)) return 0;
    if (mode == BEFORE || (mode == TORN && kind != WRITE)) die();
    if (mode == STOP) syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
    return mode != COUNT;
}

static int struck_fd(enum kind kind, const char *name, int fd) {
    char path[PATH_MAX];
    return applies(kind) && path_of(fd, path) && below(path) && strike(kind, name, path);
}

static int struck_path(enum kind kind, const char *name, int directory, const char *given) {
    char path[PATH_MAX];
    return applies(kind) && full_path(directory, given, path) && below(path) && strike(kind, name, path);
}

/* The call, as the mode wants it: the real one, an error, a lie. `lie` is what success looks like. */
#define POINT(hit, kind, lie, call)                                                         \
    do {                                                                                    \
        if (hit) {                                                                          \
            int error = error_of(kind);                                                     \
            if (error) { errno = error; return -1; }                                        \
            if (mode == LIE) return lie;                                                    \
            long result = call;                                                             \
            if (mode == AFTER) die();                                                       \
            return result;                                                                  \
        }                                                                                   \
        return call;                                                                        \
    } while (0)

/* ---- data ---- */

ssize_t write(int fd, const void *data, size_t size) {
    int hit = struck_fd(WRITE, "write", fd);
    if (hit && mode == TORN) { syscall(SYS_write, fd, data, size / 2); die(); }
    if (hit && mode == SHORT && size > 1) return syscall(SYS_write, fd, data, size / 2);
    POINT(hit, WRITE, (ssize_t)size, syscall(SYS_write, fd, data, size));
}

static ssize_t positioned(int fd, const void *data, size_t size, off_t offset) {
    int hit = struck_fd(WRITE, "pwrite", fd);
    if (hit && mode == TORN) { syscall(SYS_pwrite64, fd, data, size / 2, offset); die(); }
    if (hit && mode == SHORT && size > 1) return syscall(SYS_pwrite64, fd, data, size / 2, offset);
    POINT(hit, WRITE, (ssize_t)size, syscall(SYS_pwrite64, fd, data, size, offset));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return positioned(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return positioned(fd, data, size, offset); }

/* Half of the bytes of all parts, and how many that are. */
static ssize_t half_vector(int fd, const struct iovec *parts, int count, size_t total) {
    size_t left = total / 2, done = 0;
    for (int i = 0; i < count && left > 0; i++) {
        size_t size = parts[i].iov_len < left ? parts[i].iov_len : left;
        ssize_t n = syscall(SYS_write, fd, parts[i].iov_base, size);
        if (n < 0) return done ? (ssize_t)done : n;
        done += n;
        left -= size;
    }
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    size_t total = 0;
    for (int i = 0; i < count; i++) total += parts[i].iov_len;
    int hit = struck_fd(WRITE, "writev", fd);
    if (hit && mode == TORN) { half_vector(fd, parts, count, total); die(); }
    if (hit && mode == SHORT && total > 1) return half_vector(fd, parts, count, total);
    POINT(hit, WRITE, (ssize_t)total, syscall(SYS_writev, fd, parts, count));
}

static int truncated(int fd, off_t length) {
    POINT(struck_fd(TRUNCATE, "ftruncate", fd), TRUNCATE, 0, syscall(SYS_ftruncate, fd, length));
}

int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length); }

int fallocate(int fd, int how, off_t offset, off_t length) {
    POINT(struck_fd(TRUNCATE, "fallocate", fd), TRUNCATE, 0, syscall(SYS_fallocate, fd, how, offset, length));
}

int fsync(int fd) { POINT(struck_fd(SYNC, "fsync", fd), SYNC, 0, syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { POINT(struck_fd(SYNC, "fdatasync", fd), SYNC, 0, syscall(SYS_fdatasync, fd)); }

static ssize_t read_at(int fd, void *data, size_t size, off_t offset) {
    POINT(struck_fd(READ, "pread", fd), READ, 0, syscall(SYS_pread64, fd, data, size, offset));
}

ssize_t read(int fd, void *data, size_t size) { POINT(struck_fd(READ, "read", fd), READ, 0, syscall(SYS_read, fd, data, size)); }
ssize_t pread(int fd, void *data, size_t size, off_t offset) { return read_at(fd, data, size, offset); }
ssize_t pread64(int fd, void *data, size_t size, off64_t offset) { return read_at(fd, data, size, offset); }

/* ---- names ---- */

static int opened(int directory, const char *path, int flags, mode_t bits) {
    enum kind kind = flags & O_CREAT ? CREATE : OPEN;
    POINT(struck_path(kind, flags & O_CREAT ? "create" : "open", directory, path), kind, -1,
          (int)syscall(SYS_openat, directory, path, flags, bits));
}

#define OPEN_BODY(directory)                                                                \
    mode_t bits = 0;                                                                        \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                    \
        va_list rest;                                                                       \
        va_start(rest, flags);                                                              \
        bits = va_arg(rest, mode_t);                                                        \
        va_end(rest);                                                                       \
    }                                                                                       \
    return opened(directory, path, flags, bits)

int open(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD); }
int openat(int directory, const char *path, int flags, ...) { OPEN_BODY(directory); }
int openat64(int directory, const char *path, int flags, ...) { OPEN_BODY(directory); }
int creat(const char *path, mode_t bits) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, bits); }

static int renamed(int from, const char *old, int to, const char *new, unsigned flags) {
    POINT(struck_path(ADD, "rename", to, new), ADD, 0, (int)syscall(SYS_renameat2, from, old, to, new, flags));
}

int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return renamed(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return renamed(from, old, to, new, flags); }

int linkat(int from, const char *old, int to, const char *new, int flags) {
    POINT(struck_path(ADD, "link", to, new), ADD, 0, (int)syscall(SYS_linkat, from, old, to, new, flags));
}

int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int directory, const char *path, int flags) {
    POINT(struck_path(REMOVE, flags & AT_REMOVEDIR ? "rmdir" : "unlink", directory, path), REMOVE, 0,
          (int)syscall(SYS_unlinkat, directory, path, flags));
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int directory, const char *path, mode_t bits) {
    POINT(struck_path(ADD, "mkdir", directory, path), ADD, 0, (int)syscall(SYS_mkdirat, directory, path, bits));
}

int mkdir(const char *path, mode_t bits) { return mkdirat(AT_FDCWD, path, bits); }
