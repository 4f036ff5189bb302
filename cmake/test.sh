#!/usr/bin/env bash
# test.sh [--long]: installs what is missing, builds everything, runs every suite, and ends with
# "N passed, N failed". --long takes an hour or more: the campaigns of release are whole, a hundred
# mutants are tried, and the other builds leave nothing out.
#
#   release   what users get, the packages seen from outside, and other environments
#   debug     what runs the library but for the longest campaigns, with the slow assertions
#   asan      all that runs the library, under AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan      what runs threads, under ThreadSanitizer
#   valgrind  a few of release, for what is read before it was written
#   clang     the library and the command compile without a warning
#   fuzz      libFuzzer on each harness of tests/fuzz, some seconds or 20 minutes
#   coverage  with --long: lines, branches and MC/DC of each file (cmake/coverage.sh)
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
jobs=${FEOX_JOBS:-$(nproc)}
started=$SECONDS
long=
timeout=240 # seconds for one test program
fuzz_seconds=5 # for each harness

for argument in "$@"; do
    case $argument in
    --long)
        long=1
        timeout=7200
        fuzz_seconds=120
        ;;
    *)
        echo "usage: cmake/test.sh [--long]" >&2
        exit 2
        ;;
    esac
done

# shellcheck source=cmake/packages.sh
. cmake/packages.sh
install_packages gcc g++ clang cmake ninja-build pkg-config liburing-dev libxxhash-dev \
    libcjson-dev libcmocka-dev libjemalloc-dev unicode-data iso-codes python3 spin \
    e2fsprogs xfsprogs btrfs-progs mount patch valgrind || exit 1
# libFuzzer's half of clang; where it cannot be had, fuzz.sh says that it skips.
install_packages "libclang-rt-$(clang -dumpversion | cut -d . -f 1)-dev"

logs=$root/build/logs
mkdir -p "$logs"
rm -f "$logs"/*
failed_steps=0

# step NAME COMMAND...: quiet unless it fails; a failure counts as one failed test.
step() {
    local name=$1 begin=$SECONDS
    shift
    if "$@" >"$logs/$name.log" 2>&1; then
        printf '%-16s done in %d s\n' "$name" $((SECONDS - begin))
        return 0
    fi
    printf '%-16s FAILED\n' "$name"
    grep -vE '^(\[[0-9]+/[0-9]+\]|-- )' "$logs/$name.log" | head -n 40
    failed_steps=$((failed_steps + 1))
    return 1
}

build() {
    local name=$1
    shift
    cmake -S . -B "build/$name" -G Ninja -DFEOX_WERROR=ON -DFEOX_TEST_TIMEOUT=$timeout "$@" &&
        ninja -C "build/$name" -j "$jobs"
}

build_clang() {
    cmake -S . -B build/clang -G Ninja -DFEOX_WERROR=ON -DFEOX_TESTS=OFF \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang && ninja -C build/clang -j "$jobs"
}

# suite NAME CTEST-ARGUMENTS...: the verdict comes from the report, at the end. One more than there
# are processors: some tests mostly wait.
suite() {
    local name=$1 begin=$SECONDS
    shift
    # shellcheck disable=SC2086
    $runner ctest --test-dir "build/$name" -j $((jobs + 1)) --output-junit "$logs/$name.xml" \
        --test-output-size-passed 1000000 --test-output-size-failed 1000000 "$@" \
        >"$logs/$name-tests.log" 2>&1
    if [ ! -s "$logs/$name.xml" ]; then
        printf '%-16s FAILED\n' "$name tests"
        tail -n 20 "$logs/$name-tests.log"
        failed_steps=$((failed_steps + 1))
        return
    fi
    printf '%-16s run in %d s\n' "$name tests" $((SECONDS - begin))
}

# The same programs in other places; a line for each.
environments() {
    local begin=$SECONDS
    cmake/environments.sh "$root/build/release" "$logs" "$jobs" ${long:+--long} ||
        failed_steps=$((failed_steps + $?))
    printf '%-16s run in %d s\n' "environments" $((SECONDS - begin))
}

# One program at a time, by its path in build/release.
memcheck() {
    local test
    for test in test_disk_format test_engine_wbuf test_api_open_close; do
        valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
            "build/release/$test" || return 1
    done
}

# ThreadSanitizer of gcc 12 cannot live with the widest address randomisation of newer kernels. Says
# how to start a program so that it can; fails if there is no way here.
tsan_runner() {
    local probe=$logs/probe way
    echo 'int main(void) { return 0; }' >"$probe.c"
    gcc -fsanitize=thread "$probe.c" -o "$probe" || return 1
    for way in "" "setarch -R"; do
        if $way "$probe" 2>/dev/null; then
            echo "$way"
            return 0
        fi
    done
    return 1
}

# How to start what need not meet a disk again, after release and asan: its files are in memory, if
# there is room.
in_memory() {
    local room
    room=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
    if [ -z "${TMPDIR:-}" ] && [ "${room:-0}" -gt $((6 << 20)) ] && [ -w /dev/shm ]; then
        echo "env TMPDIR=/dev/shm"
    fi
}

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1 second_deadlock_stack=1}

# What only reads sources or packages, or decides by itself what runs when, need not run again in
# every build. Campaigns that live by their number run in release and in one build that looks
# closer: with assertions, or under a sanitizer; a few of one thread only in the latter. --long runs
# them in every build.
once='tidy|package|store/json_(differential|suite)|sim/lockfree|model/spin|mutants'
release_not='sim/crash|fault/memory(_loop)?|cli/faults'
debug_not='fault/(hostile|shutdown|environment|memory|memory_loop|device|kill_points|full_kill)'
debug_not+='|fault/(full_disk|kill|openers)|model/(linear|linear_crash|collision)|sim/exhaustive'
debug_not+='|engine/refusal|stress/(lifetimes|plateau|larger_than_memory)|cli/(commands|kill)'
debug_not+='|api/(million|compact)'
asan_not='sim/(crash|exhaustive)|fault/(device|full_kill|full_disk|openers)|stress/plateau'
asan_not+='|issues/(info_without_time_left|insert_seen_not_scanned)'
# One thread each, or threads that other tests have too.
tsan_not='fault/(hostile|memory|memory_loop|device|kill_points|full_kill)|model/collision'
tsan_not+='|api/million|engine/(refusal|images|ring|sweeper|tails|recover|rescue|check|hidden)'
tsan_not+='|engine/(flusher|group|check_disk|fetch|space|limbo|probe|commit|mover|credit|reader)'
tsan_not+='|index/(table|slab|record_sort)|disk/segments|store/(check|write)|cli/faults'
tsan_not+='|fault/(full_disk|memory_growth)|api/(compact|salvage|ttl|memory_limit)|stress/plateau'
if [ -n "$long" ]; then
    release_not=none
    debug_not=$once
    asan_not=$once
    tsan_not=$once
fi
runner=${long:+env FEOX_LONG=1}
step clang build_clang
step release build release -DCMAKE_BUILD_TYPE=Release && suite release -E "^($release_not)$" &&
    environments && step valgrind memcheck
runner=$(in_memory)
step debug build debug -DCMAKE_BUILD_TYPE=Debug && suite debug -E "^($once|$debug_not)$"
runner=
step asan build asan -DCMAKE_BUILD_TYPE=Asan && suite asan -E "^($once|$asan_not)$"
if way=$(tsan_runner); then
    runner="$(in_memory) $way"
    step tsan build tsan -DCMAKE_BUILD_TYPE=Tsan && suite tsan -L threads -E "^($tsan_not)$"
else
    echo "skipped: all of tsan: ThreadSanitizer cannot start a program on this machine"
fi

FEOX_JOBS=$jobs FEOX_LOGS=$logs cmake/fuzz.sh "$fuzz_seconds"
case $? in
0 | 77) ;;
*) failed_steps=$((failed_steps + 1)) ;;
esac

if [ -n "$long" ]; then
    FEOX_JOBS=$jobs FEOX_LOGS=$logs cmake/coverage.sh
    case $? in
    0 | 77) ;;
    *) failed_steps=$((failed_steps + 1)) ;;
    esac
fi

printf 'all in %d s\n' $((SECONDS - started))
shopt -s nullglob
exec python3 cmake/report.py "$failed_steps" "$logs"/*.xml "$logs"/*.campaigns
