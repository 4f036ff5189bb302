/* mount: the work is done by mkfs, losetup and mount, whose last line is the reason if they refuse.
 * The loop device is detached as soon as it is mounted: the kernel then frees it with the mount.
 */
#define _GNU_SOURCE
#include "support/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temp.h"

struct fx_mount {
    fx_mount *next;
    const char *point;
    const char *image; /* NULL: in memory */
    const char *type;
    uint32_t sector_size;
    bool mounted;
};

static char reason[512];
static fx_mount *mounts;
static pid_t owner;

static bool refuse(const char *what) {
    (void)snprintf(reason, sizeof reason, "%s: %s", what, strerror(errno));
    return false;
}

/* Runs a program; its last line of output is in `line` and, if it fails, in the reason. */
static bool run(char *const argv[], char *line, size_t size) {
    int ends[2];
    line[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return refuse("pipe");
    }
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], 1);
        (void)dup2(ends[1], 2);
        (void)execvp(argv[0], argv);
        (void)dprintf(1, "%s", strerror(errno));
        _exit(127);
    }
    (void)close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    char text[300];
    while (out != NULL && fgets(text, sizeof text, out) != NULL) {
        text[strcspn(text, "\n")] = '\0';
        if (text[0] != '\0') {
            (void)snprintf(line, size, "%s", text);
        }
    }
    if (out != NULL) {
        (void)fclose(out);
    }
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    (void)snprintf(reason, sizeof reason, "%s: %s", argv[0], line);
    return false;
}

static bool unmount(fx_mount *m) {
    m->mounted = m->mounted && umount2(m->point, UMOUNT_NOFOLLOW) != 0;
    return !m->mounted || refuse(m->point);
}

/* Before the directory of the test is removed. */
static void unmount_all(void) {
    for (fx_mount *m = mounts; m != NULL && getpid() == owner; m = m->next) {
        if (m->mounted) {
            (void)umount2(m->point, MNT_DETACH);
        }
    }
    while (mounts != NULL) {
        fx_mount *next = mounts->next;
        free(mounts);
        mounts = next;
    }
}

static bool own_namespace(void) {
    if (owner != 0) {
        return true;
    }
    (void)fx_temp_dir(); /* its end is after ours */
    if (geteuid() != 0) {
        errno = EPERM;
        return refuse("mounting needs root");
    }
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return refuse("no mount namespace of our own");
    }
    owner = getpid();
    return atexit(unmount_all) == 0;
}

/* A loop device for the image; it goes away with its last user once it is detached. */
static bool attach(const fx_mount *m, char *device, size_t size) {
    char sector[32];
    char image[600];
    (void)snprintf(sector, sizeof sector, "%u", m->sector_size != 0 ? m->sector_size : 512u);
    (void)snprintf(image, sizeof image, "%s", m->image);
    char *argv[] = {(char[]){"losetup"},
                    (char[]){"--find"},
                    (char[]){"--show"},
                    (char[]){"--sector-size"},
                    sector,
                    image,
                    NULL};
    return run(argv, device, size);
}

static void detach(char *device) {
    char line[300];
    char *argv[] = {(char[]){"losetup"}, (char[]){"--detach"}, device, NULL};
    (void)run(argv, line, sizeof line);
}

static bool make(const fx_mount *m, char *device) {
    char line[300];
    char program[64];
    (void)snprintf(program, sizeof program, "mkfs.%s", m->type);
    char quiet[] = "-q";
    if (strncmp(m->type, "ext", 3) == 0) { /* nothing is kept for root */
        char *argv[] = {program, quiet, (char[]){"-F"}, (char[]){"-m"}, (char[]){"0"},
                        device,  NULL};
        return run(argv, line, sizeof line);
    }
    char *argv[] = {program, quiet, (char[]){"-f"}, device, NULL};
    return run(argv, line, sizeof line);
}

static bool mount_device(fx_mount *m, char *device, const char *options) {
    char line[300];
    char with[300];
    char type[32];
    char point[600];
    (void)snprintf(with, sizeof with, "%s", options != NULL ? options : "defaults");
    (void)snprintf(type, sizeof type, "%s", m->type);
    (void)snprintf(point, sizeof point, "%s", m->point);
    char *argv[] = {
        (char[]){"mount"}, (char[]){"-t"}, type, (char[]){"-o"}, with, device, point, NULL};
    m->mounted = run(argv, line, sizeof line);
    return m->mounted;
}

static bool mount_image(fx_mount *m, const char *options, bool fresh) {
    char device[300];
    if (!attach(m, device, sizeof device)) {
        return false;
    }
    bool ok = (!fresh || make(m, device)) && mount_device(m, device, options);
    detach(device);
    return ok;
}

static bool begin(fx_mount *m, const fx_mount_how *how) {
    if (mkdir(m->point, 0700) != 0) {
        return refuse(m->point);
    }
    if (m->image != NULL) {
        fx_file_write(m->image, "", 0);
        fx_file_truncate(m->image, how->size);
        return mount_image(m, how->options, true);
    }
    char options[300];
    (void)snprintf(options, sizeof options, "size=%llu%s%s", (unsigned long long)how->size,
                   how->options != NULL ? "," : "", how->options != NULL ? how->options : "");
    char none[] = "none";
    return mount_device(m, none, options);
}

fx_mount *fx_mount_begin(const fx_mount_how *how, const char **why_not_out) {
    *why_not_out = reason;
    fx_mount *m = calloc(1, sizeof *m);
    if (m == NULL || !own_namespace()) {
        free(m);
        return NULL;
    }
    m->type = how->type;
    m->sector_size = how->sector_size;
    m->point = fx_temp_fresh("mount");
    if (strcmp(how->type, "tmpfs") != 0 && strcmp(how->type, "ramfs") != 0) {
        m->image = how->below == NULL ? fx_temp_fresh("image") : fx_mount_file(how->below, "image");
    }
    m->next = mounts;
    mounts = m;
    if (!begin(m, how)) {
        fx_mount_end(m);
        return NULL;
    }
    return m;
}

const char *fx_mount_path(const fx_mount *m) {
    return m->point;
}

const char *fx_mount_file(const fx_mount *m, const char *name) {
    char relative[600];
    (void)snprintf(relative, sizeof relative, "%s/%s", strrchr(m->point, '/') + 1, name);
    return fx_temp_path(relative);
}

bool fx_mount_again(fx_mount *m, const char *options, const char **why_not_out) {
    *why_not_out = reason;
    return unmount(m) && mount_image(m, options, false);
}

bool fx_mount_stop(fx_mount *m, const char **why_not_out) {
    *why_not_out = reason;
    return unmount(m);
}

void fx_mount_end(fx_mount *m) {
    if (!unmount(m)) {
        (void)fprintf(stderr, "mount: %s\n", reason);
        abort();
    }
    if (m->image != NULL) {
        fx_file_remove(m->image);
    }
    (void)rmdir(m->point);
    fx_mount **link = &mounts;
    while (*link != m) {
        link = &(*link)->next;
    }
    *link = m->next;
    free(m);
}

uint64_t fx_mount_room(const fx_mount *m) {
    struct statvfs status;
    return statvfs(m->point, &status) == 0 ? (uint64_t)status.f_bavail * status.f_frsize : 0;
}

void fx_mount_fill(const fx_mount *m, const char *name, uint64_t leave) {
    static const char zeros[1 << 16];
    int fd = open(fx_mount_file(m, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t at = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    /* What is written late counts late: sync, look again, and at last take it block by block. */
    for (size_t piece = sizeof zeros; at >= 0 && piece >= 512;) {
        uint64_t room = fx_mount_room(m);
        ssize_t put = room >= leave + piece || leave == 0 ? pwrite(fd, zeros, piece, at) : 0;
        at += put > 0 ? put : 0;
        if (put <= 0) {
            (void)fsync(fd);
            piece /= 2;
        }
    }
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

void fx_mount_settle(const fx_mount *m) {
    int fd = open(m->point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)syncfs(fd);
        (void)close(fd);
    }
}
