#!/usr/bin/env bash
# quickstart.sh: from a fresh clone on a fresh Debian to a store that has been filled from real
# files, queried, killed and found whole. Says what it does, and fails if anything is not as
# expected.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

# shellcheck source=cmake/packages.sh
. cmake/packages.sh

unicode=/usr/share/unicode/UnicodeData.txt
countries=/usr/share/iso-codes/json/iso_3166-1.json
languages=/usr/share/iso-codes/json/iso_639-3.json
work=build/quickstart
store=$work/demo.feox
feox=build/release/feox
steps=0
importer=

clean_up() {
    if [ -n "$importer" ]; then
        kill -9 "$importer" 2>/dev/null || true
    fi
}
trap clean_up EXIT

say() {
    printf '\n%s\n' "$*"
}

# check WHAT EXPECTED ACTUAL
check() {
    steps=$((steps + 1))
    if [ "$2" != "$3" ]; then
        printf '  FAILED: %s\n  expected: %s\n  found:    %s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
    printf '  ok: %s\n' "$1"
}

# same WHAT FILE FILE
same() {
    steps=$((steps + 1))
    if ! cmp -s "$2" "$3"; then
        printf '  FAILED: %s: %s and %s differ\n' "$1" "$2" "$3" >&2
        exit 1
    fi
    printf '  ok: %s\n' "$1"
}

# run WORDS...: the command on the store. Shows it; its output is in $output, its status in $status.
run() {
    local word
    printf '  $ feox demo.feox'
    for word in "$@"; do
        case $word in
        *[!A-Za-z0-9_./=-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    status=0
    output=$("$feox" "$store" "$@" 2>"$work/stderr") || status=$?
    if [ "$status" -gt 1 ]; then
        sed 's/^/    /' "$work/stderr"
    fi
}

say "1. Install what is missing"
install_packages gcc libc6-dev cmake ninja-build pkg-config liburing-dev libxxhash-dev \
    libcjson-dev libcmocka-dev libjemalloc-dev unicode-data iso-codes
echo "  ok: every package is there"

say "2. Build the library and the command, release, in build/release"
mkdir -p "$work"
if ! { cmake -S . -B build/release -G Ninja -DCMAKE_BUILD_TYPE=Release &&
    ninja -C build/release feox_command feox_shared feox_static; } >"$work/build.log" 2>&1; then
    tail -n 40 "$work/build.log" >&2
    echo "  FAILED: the build" >&2
    exit 1
fi
"$feox" --version | sed 's/^/  /'
rm -f "$work"/*.feox "$work"/*.txt

say "3. Import the Unicode character database: one record a line, the key is field 1"
records=$(wc -l <"$unicode")
run import "$unicode" --format delimited --delimiter ';' --key 1 --key-prefix uni/
check "as many records as the file has lines" "$records records imported" "$output"

say "4. Import the countries and languages of ISO 3166 and 639-3: JSON documents"
country_count=$(grep -c '"alpha_2":' "$countries")
language_count=$(grep -c '"alpha_3":' "$languages")
run import "$countries" --format json --path /3166-1 --key alpha_2 --key-prefix country/
check "every country" "$country_count records imported" "$output"
run import "$languages" --format json --path /639-3 --key alpha_3 --key-prefix language/
check "every language" "$language_count records imported" "$output"
run count
check "the store has all of them" "$((records + country_count + language_count))" "$output"

say "5. Read"
run get uni/0041
check "the record of the letter A, byte for byte" "$(grep '^0041;' "$unicode")" "$output"
run get uni/NONE
check "a key that is not there is exit status 1" 1 "$status"
awk -F ';' '{ print "uni/" $1 "\t" $0 }' "$unicode" | sort -t "$(printf '\t')" -k 1,1 \
    >"$work/expected.txt"
"$feox" "$store" scan --prefix uni/ >"$work/scan.txt"
same "a prefix scan gives every Unicode record, in order, byte for byte" "$work/expected.txt" \
    "$work/scan.txt"
cut -f 1 "$work/expected.txt" | tac >"$work/expected_reverse.txt"
"$feox" "$store" scan --prefix uni/ --keys --reverse >"$work/reverse.txt"
same "a reverse scan gives them backwards" "$work/expected_reverse.txt" "$work/reverse.txt"
run scan --from uni/0041 --to uni/0043 --keys
check "a range has both its ends" "uni/0041 uni/0042 uni/0043" "$(echo $output)"
run count --prefix country/
check "counting a prefix" "$country_count" "$output"

say "6. Compare and swap"
run set motto draft
run cas motto draft final
check "draft was there: swapped" 0 "$status"
run cas motto draft lost
check "draft is gone: exit status 1, nothing changed" 1 "$status"
run get motto
check "the value is the first swap's" final "$output"

say "7. A counter"
run incr visits 41
check "a new counter" 41 "$output"
run incr visits
check "one more" 42 "$output"

say "8. A JSON Patch on a country; bytes it does not touch stay"
before=$("$feox" "$store" get country/FR)
run patch country/FR '[{"op":"test","path":"/alpha_3","value":"FRA"},
  {"op":"replace","path":"/name","value":"La France"}]'
check "applied" 0 "$status"
run get country/FR
check "the name is new, the rest is as it was" "${before/\"France\"/\"La France\"}" "$output"
run patch country/FR '[{"op":"remove","path":"/name"},{"op":"remove","path":"/nothing"}]'
check "a patch that does not fit is exit status 3" 3 "$status"
run get country/FR
check "and changes nothing, not even by its first half" "${before/\"France\"/\"La France\"}" \
    "$output"

say "9. Time to live"
run set session s3cret --ttl-ms 1500
run get session
check "there for a second and a half" s3cret "$output"
run ttl session
check "its remaining milliseconds are known" yes \
    "$([ "$output" -gt 0 ] && [ "$output" -le 1500 ] && echo yes)"
sleep 1.7
run get session
check "gone" 1 "$status"

say "10. Export, and import into another store"
"$feox" "$store" export >"$work/export.txt"
"$feox" "$work/copy.feox" import - <"$work/export.txt" | sed 's/^/  /'
"$feox" "$store" scan --hex >"$work/before.txt"
"$feox" "$work/copy.feox" scan --hex >"$work/after.txt"
same "the two stores hold the same bytes" "$work/before.txt" "$work/after.txt"

say "11. Kill the process with SIGKILL in the middle of an import"
# A stream without end, so that the import cannot be over: numbered copies of the Unicode records.
"$feox" "$store" import - --format delimited --delimiter ';' --key-prefix copy/ \
    >"$work/killed.txt" 2>&1 < <(exec awk '
        { line[n++] = $0 }
        END { for (i = 0; ; i++) printf "%09d;%s\n", i, line[i % n] }' "$unicode" 2>/dev/null) &
importer=$!
size_before=$(stat -c %s "$store")
for _ in $(seq 30); do
    sleep 0.1
    if [ "$(stat -c %s "$store")" -gt $((size_before + 8388608)) ]; then
        break
    fi
done
check "it is at work" yes "$(kill -0 "$importer" 2>/dev/null && echo yes)"
kill -9 "$importer"
killed=0
wait "$importer" 2>/dev/null || killed=$?
importer=
check "killed by signal 9" 137 "$killed"

say "12. Open the file again"
run check
printf '    %s\n' "$output"
check "the whole file verifies" 0 "$status"
run count --prefix copy/
copies=$output
check "a part of the import is there" yes "$([ "$copies" -gt 0 ] && echo yes)"
echo "    $copies records of it"
run scan --prefix copy/ --keys --reverse --limit 1
check "the records up to some point, none missing in between" \
    "$(printf 'copy/%09d' $((copies - 1)))" "$output"
"$feox" "$store" scan --prefix copy/ --limit 20000 | head -n 20000 >"$work/copies.txt"
awk '{ line[n++] = $0 }
    END { for (i = 0; i < 20000 && i < m; i++)
        printf "copy/%09d\t%09d;%s\n", i, i, line[i % n] }' m="$copies" "$unicode" \
    >"$work/expected_copies.txt"
same "the first of them are right, byte for byte" "$work/expected_copies.txt" "$work/copies.txt"
for prefix in uni/ country/ language/ motto visits; do
    "$feox" "$store" scan --prefix "$prefix" --hex
done >"$work/survivors.txt"
for prefix in uni/ country/ language/ motto visits; do
    "$feox" "$work/copy.feox" scan --prefix "$prefix" --hex
done >"$work/expected_survivors.txt"
same "all that was there before is there, byte for byte" "$work/expected_survivors.txt" \
    "$work/survivors.txt"
run set after "the crash"
run get after
check "and the store takes writes" "the crash" "$output"

say "All $steps checks passed. The store is $store, the command $feox; try: $feox --help"
