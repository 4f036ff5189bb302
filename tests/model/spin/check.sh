#!/usr/bin/env bash
# check.sh FOLDER: verifies the models beside it with spin, exhaustively, in FOLDER; then each
# model's mutants, which must fail. 77: there is no spin here.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=${1:?usage: check.sh FOLDER}
mkdir -p "$work"
cases=0
faults=0
failures=0

if ! command -v spin >/dev/null; then
    echo "spin is not installed: the models of group commit and epoch are not checked"
    exit 77
fi

# verify NAME WANTED [DEFINE]: WANTED is "holds" or "fails".
verify() {
    local name=$1 wanted=$2 define=${3:-} folder begin=$SECONDS got=broken
    folder=$work/$name$define
    cases=$((cases + 1))
    [ -z "$define" ] || faults=$((faults + 1))
    rm -rf "$folder"
    mkdir -p "$folder"
    (cd "$folder" && cp "$here/$name.pml" . && spin ${define:+"-D$define"} -a "$name.pml" &&
        gcc -O1 -DCOLLAPSE -DMEMLIM=1024 -w -o pan pan.c && ./pan -m100000) >"$folder/log" 2>&1
    if grep -q 'errors: 0' "$folder/log" && ! grep -q 'max search depth too small' "$folder/log"
    then
        got=holds
    elif grep -Eq 'errors: [1-9]' "$folder/log"; then
        got=fails
    fi
    printf '%-14s %-16s %-6s %9s states %3d s\n' "$name" "${define:-as it is}" "$got" \
        "$(awk '/states, stored/ { print $1; exit }' "$folder/log")" $((SECONDS - begin))
    if [ "$got" != "$wanted" ]; then
        echo "  should be: $wanted"
        tail -n 20 "$folder/log"
        failures=$((failures + 1))
    fi
}

verify group_commit holds
for mutant in EARLY_ACK CUT_ONE_BY_ONE NOT_STICKY LOST_WAKE; do
    verify group_commit fails $mutant
done
verify epoch holds
for mutant in NOT_ABOVE STAMP_FIRST PIN_LATE PIN_BUFFERED SKIPS_A_SLOT; do
    verify epoch fails $mutant
done
printf 'campaign C8 spin models and mutants: %d cases, %d faults, %d failures, %d.0 s\n' $cases \
    $faults $failures $SECONDS
exit $((failures > 0))
