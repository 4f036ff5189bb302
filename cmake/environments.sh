#!/usr/bin/env bash
# environments.sh BUILD LOGS JOBS [--long]: the functional suite of a finished build once more, in
# places that are not like this machine's file system:
#
#   tmpfs      no device below; the room is the machine's memory
#   overlay    a container's layers, over ext4
#   ext4-4096  a device whose sectors have 4,096 bytes
#   xfs, btrfs on loop devices
#   eperm      io_uring refused by a seccomp filter, as container runtimes do
#   enosys     a kernel that does not know io_uring
#   memlock    no memory may be locked
#
# Short: a part that meets every way to the file; --long: all of it. Results go to LOGS as
# env-ROW.xml, for report.py; a row that cannot be had here is named with the reason. The status is
# the number of rows that broke down without a result.
#
# Mounts and images are in a mount namespace of this script, the images on a tmpfs in there. So
# they are gone with its last process, however it ends.
set -u
if [ $# -lt 3 ]; then
    echo "usage: environments.sh BUILD LOGS JOBS [--long]" >&2
    exit 2
fi

no_mounts=
if [ "$(id -u)" -ne 0 ]; then
    no_mounts="only root can mount"
elif [ -z "${FEOX_ENVIRONMENTS:-}" ]; then
    if unshare --mount --propagation private true 2>/dev/null; then
        FEOX_ENVIRONMENTS=1 exec unshare --mount --propagation private "$0" "$@"
    fi
    no_mounts="no mount namespace of its own can be had"
fi

build=$1
logs=$2
jobs=$3
if [ "${4:-}" = --long ]; then
    # Those left out make file systems of their own.
    selection=(-R '^(api|cli|model|stress|fault)/'
        -E '^fault/(environment|full_disk|shutdown)$')
else
    short='^(api/(durable|fork|memory_limit|open_close|options|persistence)|cli/import'
    short+='|model/store_model|fault/(async_)?kill)$'
    selection=(-R "$short")
    export FEOX_KILLS=${FEOX_KILLS:-4} FEOX_MODEL_STEPS=${FEOX_MODEL_STEPS:-600}
fi
unset FEOX_LONG # rows are many
broken=0

work=$(mktemp -d)
place=$work/mnt
trap '{ umount "$place"; umount "$work"; rmdir "$work"; } 2>/dev/null' EXIT
trap 'exit 1' INT TERM HUP
if [ -z "$no_mounts" ] && ! mount -t tmpfs -o size=4g,mode=0755 none "$work"; then
    no_mounts="tmpfs cannot be mounted"
fi
mkdir -p "$place"

# loop TYPE SECTOR: a fresh file system at $place. False: $reason says why not.
loop() {
    local type=$1 sector=$2 device
    rm -f "$work/image"
    truncate -s 2G "$work/image"
    if ! command -v "mkfs.$type" >/dev/null; then
        reason="there is no mkfs.$type"
        return 1
    fi
    if ! device=$(losetup --find --show --sector-size "$sector" "$work/image" 2>&1); then
        reason=$device
        return 1
    fi
    # Detached at once, the device goes with its last user.
    if reason=$("mkfs.$type" -q "$device" 2>&1) && reason=$(mount "$device" "$place" 2>&1); then
        losetup --detach "$device"
        return 0
    fi
    reason=$(tail -n 1 <<<"$reason")
    losetup --detach "$device"
    return 1
}

# overlay: layers on an ext4, at $place/merged.
overlay() {
    loop ext4 512 || return 1
    mkdir "$place"/{lower,upper,work,merged}
    reason=$(mount -t overlay -o "lowerdir=$place/lower,upperdir=$place/upper,workdir=$place/work" \
        none "$place/merged" 2>&1)
}

# run ROW TYPE COMMAND...: the suite with TMPDIR in $place, if TYPE says which file system that must
# be ("" for none), and started by COMMAND.
run() {
    local row=$1 type=$2 begin=$SECONDS xml=$logs/env-$1.xml scratch=
    shift 2
    if [ -n "$type" ]; then
        scratch=$(mktemp -d "$place/XXXXXX")
        [ ! -d "$place/merged" ] || scratch=$(mktemp -d "$place/merged/XXXXXX")
        chmod 755 "$scratch"
        if [ "$(stat -f -c %T "$scratch")" != "$type" ]; then
            echo "environment $row: $scratch is on $(stat -f -c %T "$scratch")"
            broken=$((broken + 1))
            return
        fi
    fi
    env TMPDIR="${scratch:-${TMPDIR:-/tmp}}" "$@" ctest --test-dir "$build" -j $((jobs + 1)) \
        "${selection[@]}" --output-junit "$xml" --test-output-size-passed 1000000 \
        --test-output-size-failed 1000000 >"$logs/env-$row.log" 2>&1
    if [ -s "$xml" ]; then
        printf 'environment %-10s %s in %d s\n' "$row" \
            "$(python3 "$(dirname "$0")/report.py" 0 "$xml" | tail -n 1)" $((SECONDS - begin))
    else
        echo "environment $row: no result"
        tail -n 5 "$logs/env-$row.log"
        broken=$((broken + 1))
    fi
}

# mounted ROW TYPE COMMAND...: the same on what COMMAND mounts at $place.
mounted() {
    local row=$1 type=$2
    shift 2
    reason=$no_mounts
    if [ -z "$reason" ] && "$@"; then
        run "$row" "$type"
    else
        echo "skipped: environment $row: $reason"
    fi
    umount "$place/merged" "$place" 2>/dev/null
    rm -f "$work/image"
}

# refused ROW: under the launcher of the same word; on an ext4 whose image is in memory, where one
# can be mounted: this is not about the disk.
refused() {
    local type=
    if ! reason=$("$build/test_under" "$1" true 2>&1); then
        echo "skipped: environment $1: $reason"
        return
    fi
    if [ -z "$no_mounts" ] && loop ext4 512; then
        type=ext2/ext3
    fi
    run "$1" "$type" "$build/test_under" "$1"
    umount "$place" 2>/dev/null
    rm -f "$work/image"
}

mounted tmpfs tmpfs mount -t tmpfs -o size=2g none "$place"
mounted overlay overlayfs overlay
mounted ext4-4096 ext2/ext3 loop ext4 4096
mounted xfs xfs loop xfs 512
mounted btrfs btrfs loop btrfs 512
refused eperm
refused enosys
refused memlock
exit "$broken"
