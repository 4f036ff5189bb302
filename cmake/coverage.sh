#!/usr/bin/env bash
# coverage.sh [FILE...]: how much of each file of src/ the functional suite decides: lines, branches
# and MC/DC, by clang-19. See coverage.py for the thresholds and for how exceptions are argued; of
# named FILEs (src/disk/format.c) each condition that is missing is listed. Fails if a file is below
# its threshold or a test fails. The report of the tests is build/logs/coverage.xml, or that in
# $FEOX_LOGS. Exit status 77: clang-19 is not here.
#
# Each program adds to one profile of its own, also children that end by _exit
# (tests/support/cover.c); what is killed leaves nothing.
set -u
cd "$(dirname "$0")/.." || exit 1
jobs=${FEOX_JOBS:-$(nproc)}
build=$PWD/build/coverage
logs=${FEOX_LOGS:-$PWD/build/logs}
begin=$SECONDS

# shellcheck source=cmake/packages.sh
. cmake/packages.sh
if ! { command -v clang-19 && command -v llvm-cov-19; } >/dev/null &&
    ! install_packages clang-19 llvm-19 libclang-rt-19-dev >/dev/null 2>&1; then
    echo "skipped: coverage: clang-19 and llvm-19 cannot be had here"
    exit 77
fi
mkdir -p "$build" "$logs"
if ! clang-19 -fprofile-instr-generate -x c - -o "$build/probe" \
    <<<'int main(void) { return 0; }' 2>/dev/null; then
    echo "skipped: coverage: clang-19 cannot link a profile (libclang-rt-19-dev)"
    exit 77
fi

cmake -S . -B "$build" -G Ninja -DFEOX_WERROR=ON -DFEOX_TEST_TIMEOUT=600 \
    -DCMAKE_BUILD_TYPE=Coverage -DCMAKE_C_COMPILER=clang-19 >"$build/build.log" &&
    ninja -C "$build" -j "$jobs" >>"$build/build.log" 2>&1 || {
    grep -vE '^(\[[0-9]+/[0-9]+\]|-- )' "$build/build.log" | head -n 40
    exit 1
}

# %m: one file for each program, added to under a lock. The short run decides as much as the long.
# Left out is what measures time or memory, or only repeats what others decide.
left_out='tidy|model/(linear|collision)|stress/lifetimes|store/json_time'
rm -rf "$build/profiles" "$logs/coverage.xml"
env -u FEOX_LONG LLVM_PROFILE_FILE="$build/profiles/%m.profraw" ctest --test-dir "$build" \
    -j $((jobs + 1)) -E "^($left_out)$" --output-junit "$logs/coverage.xml" \
    --test-output-size-passed 1000000 --test-output-size-failed 1000000 \
    >"$logs/coverage-tests.log" 2>&1
failed=$?

# Functions in headers are also what the tests of base and of the table make of them.
inlined=()
for program in "$build"/test_base_* "$build"/test_index_table_faults; do
    inlined+=(-object "$program")
done
llvm-profdata-19 merge -sparse --failure-mode=all "$build"/profiles/*.profraw \
    -o "$build/all.profdata" 2>"$build/merge.log" &&
    llvm-cov-19 export "$build/libfeox.so" -object "$build/feox" "${inlined[@]}" -skip-expansions \
        -instr-profile="$build/all.profdata" >"$build/export.json" 2>>"$build/merge.log" || {
    cat "$build/merge.log"
    exit 1
}
python3 cmake/coverage.py "$PWD" "$build/export.json" "$@"
low=$?
python3 cmake/report.py 0 "$logs/coverage.xml" | tail -n 1
printf 'coverage in %d s\n' $((SECONDS - begin))
[ $failed -eq 0 ] && [ $low -eq 0 ]
