#!/usr/bin/env bash
# bench.sh [--quick] [--rounds N] [--json FILE] [--svg FILE] [--only GROUP,...]
#          [--engines NAME,...] [--dir DIRECTORY]
# installs the peers, builds a release, and measures libfeox beside them.
#
# --quick takes about three minutes: three rounds, without the slow peers. All of it takes hours.
# Files are made in DIRECTORY (default build/bench), on the device that is to be measured.
# bench/README.md has the method. Ends with tables on standard output.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
json=$root/build/bench/results.json
svg=$root/build/bench/chart.svg
directory=$root/build/bench
quick=
arguments=()

usage() {
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --quick)
        quick=yes
        arguments+=(--quick)
        shift
        continue
        ;;
    esac
    [ $# -ge 2 ] || usage
    case $1 in
    --json) json=$(realpath -m "$2") ;;
    --svg) svg=$(realpath -m "$2") ;;
    --dir) directory=$(realpath -m "$2") ;;
    --rounds | --only | --engines) arguments+=("$1" "$2") ;;
    *) usage ;;
    esac
    shift 2
done

# shellcheck source=cmake/packages.sh
. cmake/packages.sh
install_packages gcc cmake ninja-build pkg-config binutils liburing-dev libxxhash-dev \
    libjemalloc-dev python3
# The peers; without them there are fewer columns.
install_packages liblmdb-dev librocksdb-dev || echo "skipped: LMDB and RocksDB: no packages"
mkdir -p build/bench "$directory"

# From scratch, because that is a figure too.
rm -rf build/bench/release
started=$(date +%s.%N)
cmake -S . -B build/bench/release -G Ninja -DCMAKE_BUILD_TYPE=Release >build/bench/build.log
ninja -C build/bench/release feox_shared feox_static feox_command >>build/bench/build.log
took=$(echo "$started $(date +%s.%N)" | awk '{ printf "%.1f", $2 - $1 }')
ninja -C build/bench/release bench_store >>build/bench/build.log
strip -o build/bench/libfeox.so build/bench/release/libfeox.so

# The ancestor, where cargo can get it.
if [ -n "$quick" ]; then
    echo "skipped: FeOxDB: not part of --quick"
elif ! command -v cargo >/dev/null; then
    echo "skipped: FeOxDB: there is no cargo"
elif cargo build -q --release --manifest-path bench/feoxdb/Cargo.toml \
    --target-dir build/bench/feoxdb 2>build/bench/cargo.log; then
    export FEOX_BENCH_FEOXDB=$root/build/bench/feoxdb/release/libfeoxdb_bench.so
else
    echo "skipped: FeOxDB: cargo could not build it: $(tail -n 1 build/bench/cargo.log)"
fi

build/bench/release/bench_store "${arguments[@]}" --json "$json" --dir "$directory" \
    >build/bench/figures.log
python3 bench/chart.py "$json" --svg "$svg" --library build/bench/libfeox.so --build-seconds "$took"
