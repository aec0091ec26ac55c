/*
 * A disk that forgets, for a broker that is killed: preloaded into it, this library notes what every
 * write to the files of one directory replaces, until that file is synced. Whoever kills the process
 * then takes the noted writes back (lossy.py), as a loss of power would.
 *
 * LOSSY_DIRECTORY   the files below it are watched
 * LOSSY_JOURNAL     the file that the notes are appended to
 *
 * A note is on the journal before its write happens, so that a kill at any moment can be undone. A
 * sync is noted after it has succeeded, with the number of the notes that were there when it began:
 * what was written meanwhile is not covered. Created, renamed and removed names last at once.
 *
 * 64-bit Linux only. Memory maps that write, O_DIRECT and io_uring would go past it unseen; a
 * shared writable map ends the process with a message.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "offsets are passed in one register");

enum kind { WRITTEN = 1, SYNCED = 2, RESIZED = 3, FORGOTTEN = 4 };

/* What lossy.py reads: this head, then `old_length` bytes as they were, then `new_length` new ones. */
struct note {
    uint64_t kind;
    uint64_t inode;
    uint64_t offset; /* of a write; the new size; the notes that a sync covers */
    uint64_t old_size;
    uint64_t old_length;
    uint64_t new_length;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char directory[PATH_MAX];
static size_t directory_length;
static int journal = -1;
static uint64_t notes;

static void give_up(const char *what) {
    dprintf(2, "lossy disk: %s: %s\n", what, strerror(errno));
    abort();
}

static void begin(void) {
    const char *named = getenv("LOSSY_DIRECTORY");
    const char *path = getenv("LOSSY_JOURNAL");
    if (!named || !path) return;
    if (!realpath(named, directory)) give_up(named);
    directory_length = strlen(directory);
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0) give_up(path);
}

static int is_below(const char *path) {
    return strncmp(path, directory, directory_length) == 0 && path[directory_length] == '/';
}

/* Whether `fd` is a file of the directory; its size and inode are then in `found`. */
static int is_watched(int fd, struct stat *found) {
    int before = errno, watched = 0;
    pthread_once(&once, begin);
    if (journal >= 0 && fstat(fd, found) == 0 && S_ISREG(found->st_mode)) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0) {
            path[length] = 0;
            watched = is_below(path);
        }
    }
    errno = before;
    return watched;
}

static void append(const struct note *note, const void *old, const struct iovec *parts, int count) {
    struct iovec all[3 + 1024] = {{(void *)note, sizeof *note}, {(void *)old, note->old_length}};
    if (count > 1024) give_up("more parts than are possible");
    size_t length = sizeof *note + note->old_length + note->new_length;
    if (count) memcpy(all + 2, parts, (size_t)count * sizeof *parts);
    if (syscall(SYS_writev, journal, all, (long)(2 + count)) != (ssize_t)length) give_up("journal");
    notes++;
}

static size_t total(const struct iovec *parts, int count) {
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    return length;
}

/* Notes what is at `offset`, and what will be. Called with the lock held, as the write itself is. */
static void note_write(int fd, off_t offset, const struct iovec *parts, int count, const struct stat *found) {
    size_t length = total(parts, count), there = 0;
    if (length == 0) return;
    uint64_t size = (uint64_t)found->st_size, at = (uint64_t)offset;
    if (at < size) there = size - at < length ? size - at : length;
    char *old = malloc(there + 1);
    if (!old) give_up("memory");
    for (size_t done = 0; done < there;) {
        /* A descriptor for writing alone cannot be read; the way by /proc can. */
        ssize_t got = syscall(SYS_pread64, fd, old + done, there - done, at + done);
        if (got < 0 && errno == EBADF) {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            int other = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
            if (other < 0) give_up("a file that cannot be read");
            got = syscall(SYS_pread64, other, old + done, there - done, at + done);
            syscall(SYS_close, other);
        }
        if (got <= 0) give_up("what was there before");
        done += (size_t)got;
    }
    struct note note = {WRITTEN, found->st_ino, at, size, there, length};
    append(&note, old, parts, count);
    free(old);
}

static ssize_t write_at(int fd, const struct iovec *parts, int count, off_t offset, int is_positioned) {
    struct stat found;
    if (!is_watched(fd, &found)) {
        return is_positioned ? syscall(SYS_pwritev, fd, parts, (long)count, offset, 0L)
                             : syscall(SYS_writev, fd, parts, (long)count);
    }
    pthread_mutex_lock(&lock);
    /* The size may have changed while the lock was awaited. */
    if (fstat(fd, &found) != 0) give_up("fstat");
    if (!is_positioned) {
        int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
        offset = flags & O_APPEND ? found.st_size : (off_t)syscall(SYS_lseek, fd, 0L, SEEK_CUR);
    }
    note_write(fd, offset, parts, count, &found);
    ssize_t written = is_positioned ? syscall(SYS_pwritev, fd, parts, (long)count, offset, 0L)
                                    : syscall(SYS_writev, fd, parts, (long)count);
    int why = errno;
    pthread_mutex_unlock(&lock);
    errno = why;
    return written;
}

ssize_t write(int fd, const void *data, size_t length) {
    struct iovec part = {(void *)data, length};
    struct stat found;
    if (!is_watched(fd, &found)) return syscall(SYS_write, fd, data, length);
    return write_at(fd, &part, 1, 0, 0);
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return write_at(fd, parts, count, 0, 0); }

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    struct iovec part = {(void *)data, length};
    return write_at(fd, &part, 1, offset, 1);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite(fd, data, length, offset); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_at(fd, parts, count, offset, 1);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return write_at(fd, parts, count, offset, 1);
}

/* Notes a change of size, with what is cut off. */
static void note_size(int fd, off_t size, const struct stat *found) {
    size_t lost = found->st_size > size ? (size_t)(found->st_size - size) : 0;
    char *old = malloc(lost + 1);
    if (!old) give_up("memory");
    for (size_t done = 0; done < lost;) {
        ssize_t got = syscall(SYS_pread64, fd, old + done, lost - done, size + (off_t)done);
        if (got <= 0) give_up("what is cut off");
        done += (size_t)got;
    }
    struct note note = {RESIZED, found->st_ino, (uint64_t)size, (uint64_t)found->st_size, lost, 0};
    append(&note, old, NULL, 0);
    free(old);
}

int ftruncate(int fd, off_t size) {
    struct stat found;
    if (!is_watched(fd, &found)) return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    if (fstat(fd, &found) != 0) give_up("fstat");
    note_size(fd, size, &found);
    int result = (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
    struct stat found;
    if (is_watched(fd, &found)) {
        /* Room alone is no content; holes and the like are not followed. */
        if (mode & ~FALLOC_FL_KEEP_SIZE) {
            errno = EOPNOTSUPP;
            return -1;
        }
        pthread_mutex_lock(&lock);
        if (fstat(fd, &found) != 0) give_up("fstat");
        if (mode == 0 && offset + length > found.st_size) note_size(fd, offset + length, &found);
        int result = (int)syscall(SYS_fallocate, fd, mode, offset, length);
        pthread_mutex_unlock(&lock);
        return result;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

int posix_fallocate(int fd, off_t offset, off_t length) {
    return fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

static int sync_file(int fd, long call) {
    struct stat found;
    if (!is_watched(fd, &found)) return (int)syscall(call, fd);
    pthread_mutex_lock(&lock);
    uint64_t covered = notes;
    pthread_mutex_unlock(&lock);
    int result = (int)syscall(call, fd);
    int why = errno;
    if (result == 0) {
        pthread_mutex_lock(&lock);
        struct note note = {SYNCED, found.st_ino, covered, 0, 0, 0};
        append(&note, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = why;
    return result;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }

int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

/* A file that loses its last name takes its notes along: its inode may soon be another file's. */
static void forget(int folder, const char *path) {
    struct stat found;
    pthread_once(&once, begin);
    if (journal < 0 || fstatat(folder, path, &found, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (!S_ISREG(found.st_mode) || found.st_nlink > 1) return;
    pthread_mutex_lock(&lock);
    struct note note = {FORGOTTEN, found.st_ino, 0, 0, 0, 0};
    append(&note, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
}

int unlinkat(int folder, const char *path, int flags) {
    if (!(flags & AT_REMOVEDIR)) forget(folder, path);
    return (int)syscall(SYS_unlinkat, folder, path, (long)flags);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    forget(to_folder, to);
    return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, 0L);
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

/* Copies within the kernel would not be seen; without them callers read and write. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags) {
    struct stat found;
    if (is_watched(out, &found)) {
        errno = EXDEV;
        return -1;
    }
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, length, (long)flags);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t length) {
    struct stat found;
    if (is_watched(out, &found)) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_sendfile, out, in, offset, length);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t length) { return sendfile(out, in, offset, length); }

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    struct stat found;
    if (fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE) && is_watched(fd, &found)) {
        give_up("a shared writable map");
    }
    return (void *)syscall(SYS_mmap, address, length, (long)protection, (long)flags, (long)fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    return mmap(address, length, protection, flags, fd, offset);
}
