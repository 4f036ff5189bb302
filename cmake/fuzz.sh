#!/usr/bin/env bash
# fuzz.sh SECONDS [NAME...]: builds the harnesses of tests/fuzz for libFuzzer, with AddressSanitizer
# and UndefinedBehaviorSanitizer, and runs each (or those named) for so many seconds, as many at
# once as there are processors. New inputs that reach new code are kept in build/fuzz/corpus/NAME
# and taken up by the next run; an input that fails is left in build/fuzz/crash-NAME-*. A line for
# each, as of tests/support/campaign.h, goes to fuzz.campaigns in $FEOX_LOGS, where cmake/report.py
# takes it.
# Exit status 77: clang or its runtime is not here.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:?usage: cmake/fuzz.sh SECONDS [NAME...]}
shift
build=build/fuzz
jobs=${FEOX_JOBS:-$(nproc)}
logs=${FEOX_LOGS:-$PWD/build/logs}
mkdir -p $build "$logs"

echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d == 0 && n < 0; }' >$build/probe.c
if ! clang -fsanitize=fuzzer,address,undefined $build/probe.c -o $build/probe 2>/dev/null; then
    echo "skipped: libFuzzer: clang cannot link with -fsanitize=fuzzer here (libclang-rt-dev)"
    exit 77
fi

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source#tests/fuzz/fuzz_}
        names+=("${name%.c}")
    done
fi
cmake -S . -B $build -G Ninja -DFEOX_WERROR=ON -DFEOX_FUZZ=ON -DCMAKE_BUILD_TYPE=Asan \
    -DCMAKE_C_COMPILER=clang >$build/build.log &&
    ninja -C $build -j "$jobs" "${names[@]/#/fuzz_}" >>$build/build.log 2>&1 || {
    grep -vE '^(\[[0-9]+/[0-9]+\]|-- )' $build/build.log | head -n 40
    exit 1
}

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

# fuzz NAME: what it has to say is in $build/NAME.said afterwards, its figures in NAME.figures.
fuzz() {
    local name=$1 begin=$SECONDS failures=0 log=$build/$1.log runs number=
    mkdir -p "$build/corpus/$name"
    : >"$build/$name.said"
    if ! "$build/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -max_len=4096 -artifact_prefix="$build/crash-$name-" -print_final_stats=1 \
        "$build/corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        failures=1
        grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD)' "$log" | tail -n 60 \
            >"$build/$name.said"
    fi
    # The last count: of the statistics, or of the line before a crash that left none.
    runs=$(sed -nE 's/^(#|stat::number_of_executed_units: *)([0-9]+)([[:space:]].*)?$/\2/p' "$log" |
        tail -n 1)
    printf 'fuzz %-12s %s inputs, %s of them new, %s failures, %s s\n' "$name" "${runs:-0}" \
        "$(sed -n 's/^stat::new_units_added: *//p' "$log")" "$failures" "$seconds" \
        >>"$build/$name.said"
    case $name in
    open) number="C6 " ;;
    json_*) number="C10 " ;;
    esac
    printf 'campaign %sfuzz %s: %d cases, 0 faults, %d failures, %d.0 s\n' "$number" "$name" \
        "${runs:-0}" "$failures" $((SECONDS - begin)) >"$build/$name.figures"
}

for name in "${names[@]}"; do
    rm -f "$build/$name.figures"
    [ "$(jobs -rp | wc -l)" -lt "$jobs" ] || wait -n
    fuzz "$name" &
done
wait
failed=0
: >"$logs/fuzz.campaigns"
for name in "${names[@]}"; do
    cat "$build/$name.said"
    cat "$build/$name.figures" >>"$logs/fuzz.campaigns"
    grep -q ', 0 failures,' "$build/$name.figures" || failed=1
done
exit $failed
