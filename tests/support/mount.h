/* mount: small file systems of their own for tests: an image behind a loop device, or tmpfs.
 *
 * The process gets a mount namespace of its own at the first call, so nobody else sees the mounts
 * and all of them end with it, however it ends. Call it before there are other threads; later
 * threads and children see the mounts. Needs root; whoever cannot have one is told why, for the
 * test to say and skip.
 */
#ifndef FX_SUPPORT_MOUNT_H
#define FX_SUPPORT_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fx_mount fx_mount;

typedef struct fx_mount_how {
    const char *type;     /* "tmpfs", "ramfs" (which has no limit), or one that there is a mkfs.TYPE
                            for: "ext4", "xfs" ... */
    uint64_t size;        /* bytes; mkfs.xfs wants at least 300 MiB, mkfs.btrfs 110 */
    const char *options;  /* of mount, "ro,noatime"; NULL: none */
    uint32_t sector_size; /* of the loop device; 0: as usual, 512 */
    const fx_mount *below; /* the image lies in that one; NULL: among the temporary files */
} fx_mount_how;

/* Makes and mounts an empty file system, of which all room is the user's. NULL: it cannot be done
 * here, and *why_not_out says why until the next call. */
fx_mount *fx_mount_begin(const fx_mount_how *how, const char **why_not_out);
/* The mount point, without a slash at the end. */
const char *fx_mount_path(const fx_mount *mount);
/* MOUNT POINT/name. Lives until exit. */
const char *fx_mount_file(const fx_mount *mount, const char *name);
/* Unmounts it and mounts the same image again, with these options (NULL: none), as after a crash
 * of the file system. Not for tmpfs. False: *why_not_out says why, and it is not mounted. */
bool fx_mount_again(fx_mount *mount, const char *options, const char **why_not_out);
/* Unmounts it, until fx_mount_again. False: *why_not_out says why; nothing has changed. */
bool fx_mount_stop(fx_mount *mount, const char **why_not_out);
/* Unmounts it and forgets the image. Every file must be closed. */
void fx_mount_end(fx_mount *mount);

/* Bytes that an unprivileged user may still take, as statvfs says. */
uint64_t fx_mount_room(const fx_mount *mount);
/* Makes or lengthens the file `name` until at most `leave` bytes are left (block by block at the
 * end), so that with leave 0 the next block is refused. */
void fx_mount_fill(const fx_mount *mount, const char *name, uint64_t leave);

/* Waits until the room of removed files is back: btrfs and XFS free it later. */
void fx_mount_settle(const fx_mount *mount);

#endif
