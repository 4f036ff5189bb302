#!/usr/bin/env bash
# run.sh [--all | NAME...]: the tests, tested. In a copy of the sources each patch here plants one
# bug; the test that the patch names must then fail, and must pass without it. Without arguments
# five of those that take little time, with FEOX_LONG=1 a hundred of all, others every day
# (FEOX_SEED=n for those of another day); --all: all. Exit status 77: what this needs is not here.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
jobs=${FEOX_JOBS:-$(nproc)}
some=${FEOX_LONG:+100}
some=${some:-5}
began=$SECONDS

for tool in patch cmake ninja; do
    if ! command -v $tool >/dev/null; then
        echo "skipped: mutants: there is no $tool here"
        exit 77
    fi
done

# header FILE FIELD: the lines of that field, without its name.
header() {
    sed -n "/^--- /q; s/^$2: //p" "$1"
}

patches=()
if [ $# -eq 0 ]; then
    choice=()
    for patch in "$here"/*.patch; do
        [ -n "$(header "$patch" Slow)" ] && [ -z "${FEOX_LONG:-}" ] || choice+=("$patch")
    done
    turn=${FEOX_SEED:-$(date +%j)}
    for ((i = 0; i < some; i++)); do # far apart: neighbours are about the same file
        patches+=("${choice[(10#$turn * some + i) * 61 % ${#choice[@]}]}")
    done
    echo "FEOX_SEED=$turn"
elif [ "$1" = --all ]; then
    patches=("$here"/*.patch)
else
    for name in "$@"; do # with its number or without
        found=("$here"/*"${name%.patch}.patch")
        if [ ${#found[@]} -ne 1 ] || [ ! -f "${found[0]}" ]; then
            echo "run.sh: there is no mutant $name, or more than one" >&2
            exit 2
        fi
        patches+=("${found[0]}")
    done
fi
unset FEOX_LONG FEOX_SEED # what is named here fails as the short run does

work=$(mktemp -d "${TMPDIR:-/tmp}/feox-mutants.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
tree=$work/tree
build=$work/build
mkdir "$tree" "$work/sound"
tar -C "$root" --exclude='./build*' --exclude=./.git -cf - . | tar -C "$tree" -xf - || exit 1
cp -R "$tree/src" "$work/sound/src"
# -O1 and nothing else: quick to build, and without the slow assertions of Debug.
if ! cmake -S "$tree" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Mutants -DCMAKE_C_FLAGS_MUTANTS=-O1 \
    -DFEOX_TEST_TIMEOUT=300 >"$work/cmake.log" 2>&1; then
    tail -n 20 "$work/cmake.log"
    exit 1
fi

# What must be built for a test, as ctest calls it.
target() {
    case $1 in
    store/json_differential | store/json_suite) echo feox_shared ;;
    fault/environment) echo test_fault_environment feox_shared ;;
    fuzz/*) echo "${1/\//_}_replay" ;;
    *) echo "test_${1//\//_}" ;;
    esac
}

# attempt TEST [NAME=VALUE...]: builds and runs it; the verdict is in $verdict.
attempt() {
    local test=$1
    shift
    # shellcheck disable=SC2046
    if ! ninja -C "$build" -j "$jobs" $(target "$test") >"$work/build.log" 2>&1; then
        verdict="does not build"
        return
    fi
    env "$@" timeout "$patience" ctest --test-dir "$build" -R "^$test\$" --output-on-failure \
        >"$work/test.log" 2>&1 || [ $? -ne 124 ] || echo "***Timeout" >>"$work/test.log"
    case $(cat "$work/test.log") in
    *"***Timeout"*) verdict=hung ;;
    *"***Skipped"*) verdict=skipped ;;
    *"***Failed"* | *"***Exception"*) verdict=failed ;;
    *" Passed "*) verdict=passed ;;
    *) verdict="not found" ;;
    esac
}

patience=300
failures=0
miss() {
    failures=$((failures + 1))
    printf '%-40s %s\n' "$1" "$2"
}

# Without a bug.
declare -A unsound=()
while read -r -a named; do
    attempt "${named[@]}"
    if [ "$verdict" != passed ]; then
        unsound["${named[*]}"]=$verdict
        miss "no mutant" "${named[*]} $verdict"
        grep -vE '^\[[0-9]+/[0-9]+\]' "$work/build.log" | head -n 20
        tail -n 20 "$work/test.log"
    fi
done < <(for patch in "${patches[@]}"; do header "$patch" Caught-by; done | sort -u)

# With one.
faults=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    start=$SECONDS
    if ! patch -d "$tree" -p1 --batch --forward <"$patch" >"$work/patch.log" 2>&1; then
        miss "$name" "does not apply"
    else
        wanted=failed
        patience=300
        if [ -n "$(header "$patch" Hangs)" ]; then
            wanted=hung
            patience=60
        fi
        while read -r -a named; do
            [ -z "${unsound[${named[*]}]:-}" ] || continue
            attempt "${named[@]}"
            faults=$((faults + 1))
            if [ "$verdict" = "$wanted" ]; then
                printf '%-40s %-36s %4d s\n' "$name" "${named[*]}" $((SECONDS - start))
            else
                miss "$name" "NOT CAUGHT: ${named[*]} $verdict"
                [ "$verdict" != "does not build" ] || grep -m 5 error: "$work/build.log"
            fi
        done < <(header "$patch" Caught-by)
    fi
    while read -r file; do # as it was, and newer than what was built from it
        cp "$work/sound/$file" "$tree/$file"
    done < <(sed -n 's|^--- a/||p' "$patch")
    find "$tree/src" -name '*.orig' -o -name '*.rej' | xargs -r rm
done

printf 'campaign C14 mutants: %d cases, %d faults, %d failures, %d.0 s\n' "${#patches[@]}" $faults \
    $failures $((SECONDS - began))
[ $failures -eq 0 ]
