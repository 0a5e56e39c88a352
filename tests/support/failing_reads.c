/* Preloaded into a process, this makes reads of one file fail as a bad disk or a storage that goes away does.
 *
 * BAD_NAME: the end of the file's name. BAD_AT: the first byte that cannot be read; reads that reach it fail whole.
 * BAD_ERRNO: how they fail; 0: they return no bytes. BAD_SHORT: no read returns more than so many bytes.
 * BAD_STAT: fstat fails in the same way, once a read has failed. BAD_SIGNAL: the process gets this signal instead.
 * BAD_MEMORY: the process has no more memory from then on than it has. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int has_failed;

static long long number(const char *name, long long otherwise)
{
    const char *value = getenv(name);

    return value ? atoll(value) : otherwise;
}

static int is_bad(int fd)
{
    char link[64], path[4096];
    const char *name = getenv("BAD_NAME");
    ssize_t length;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path);
    return name && length >= (ssize_t)strlen(name) && !memcmp(path + length - strlen(name), name, strlen(name));
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset)
{
    ssize_t (*real)(int, void *, size_t, off64_t);
    long long bad = number("BAD_AT", 1LL << 62), most = number("BAD_SHORT", 1LL << 40);

    *(void **)&real = dlsym(RTLD_NEXT, "pread64");
    if (!is_bad(fd))
        return real(fd, buffer, size, offset);
    if ((long long)size > most)
        size = (size_t)most;
    if (offset + (long long)size > bad && number("BAD_SIGNAL", 0))
        raise((int)number("BAD_SIGNAL", 0));
    if (offset + (long long)size > bad && getenv("BAD_MEMORY")) {
        struct rlimit none = {0, 0};

        setrlimit(RLIMIT_AS, &none);
        return real(fd, buffer, size, offset);
    }
    if (offset + (long long)size > bad) {
        has_failed = 1;
        errno = (int)number("BAD_ERRNO", EIO);
        return errno ? -1 : offset >= bad ? 0 : real(fd, buffer, (size_t)(bad - offset), offset);
    }
    return real(fd, buffer, size, offset);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
    return pread64(fd, buffer, size, offset);
}

int fstat64(int fd, struct stat64 *status)
{
    int (*real)(int, struct stat64 *);

    *(void **)&real = dlsym(RTLD_NEXT, "fstat64");
    if (has_failed && getenv("BAD_STAT") && is_bad(fd)) {
        errno = (int)number("BAD_ERRNO", EIO);
        return -1;
    }
    return real(fd, status);
}

int fstat(int fd, struct stat *status)
{
    return fstat64(fd, (struct stat64 *)status);
}
