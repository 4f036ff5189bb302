#!/usr/bin/env bash
# check_package.sh BUILD: looks at a finished build from outside, as a user's compiler, linker and
# loader see it. Each check prints a line in the manner of CMocka; the status is 1 if any failed.
set -u
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:?usage: check_package.sh BUILD}" && pwd)
header=$source_dir/include/feox.h
library=$build/libfeox.so.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-cc}
cxx=${CXX:-c++}
failed=0

# check NAME COMMAND...: passes if the command does.
check() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "[       OK ] $name"
    else
        head -n 20 "$work/log"
        echo "[  FAILED  ] $name"
        failed=$((failed + 1))
    fi
}

# none TEXT: passes if there is none, else shows it.
none() {
    [ -z "$1" ] || { echo "$1"; return 1; }
}

skip() {
    echo "$2"
    echo "[  SKIPPED ] $1"
}

# ---- The header, in every language it promises ----

echo '#include "feox.h"' >"$work/header.c"
cp "$work/header.c" "$work/header.cc"
for standard in c99 c11 c17; do
    check "header_$standard" "$cc" -std=$standard -pedantic-errors -Wall -Wextra -Werror \
        -fsyntax-only -I"$source_dir/include" "$work/header.c"
done
for standard in c++98 c++11 c++20; do
    check "header_$standard" "$cxx" -std=$standard -pedantic-errors -Wall -Wextra -Werror \
        -fsyntax-only -I"$source_dir/include" "$work/header.cc"
done

# ---- Symbols ----

declared() {
    "$cc" -E -P "$header" | grep -oE 'feox_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u
}
exported() {
    nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u
}
check exports_are_feox none "$(exported | grep -v '^feox_')"
check exports_are_declared none "$(comm -13 <(declared) <(exported))"
check declared_are_exported none "$(comm -23 <(declared) <(exported))"
check exports_are_versioned none "$(nm -D --defined-only "$library" | grep ' T ' |
    grep -v '@@FEOX_1\.0$')"
check archive_shows_feox none "$(nm -g --defined-only "$build/libfeox.a" 2>&1 |
    awk 'NF == 3 && $3 !~ /^feox_/ { print $3 }')"
check inside_names_have_prefix none "$(find "$build/CMakeFiles/feox_objects.dir" -name '*.o' \
    -exec nm -g --defined-only {} + | awk 'NF == 3 && $3 !~ /^(feox|fx)_/ { print $3 }')"

# ---- What the loader is asked for ----

dynamic=$(readelf -dW "$library")
check soname grep -q 'SONAME.*\[libfeox\.so\.1\]' <<<"$dynamic"
check needs_libc_alone none "$(grep NEEDED <<<"$dynamic" |
    grep -vE '\[(libc\.so\.6|ld-linux[^]]*)\]')"
check no_static_tls none "$(grep STATIC_TLS <<<"$dynamic")"
check no_tls_segment none "$(readelf -lW "$library" | grep -E '^ *TLS ')"
check never_unloaded grep -q NODELETE <<<"$dynamic"

# ---- Installed, moved, used ----

check install cmake --install "$build" --prefix "$work/first"
mv "$work/first" "$work/prefix" 2>/dev/null
libdir=$(dirname "$(find "$work/prefix" -name libfeox.a | head -n 1)")
export PKG_CONFIG_PATH=$libdir/pkgconfig
cat >"$work/program.c" <<'C'
#include <feox.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    feox_store *store = NULL;
    void *value = NULL;
    size_t size = 0;
    if (feox_open(NULL, NULL, &store) != FEOX_OK ||
        feox_insert(store, "key", 3, "value", 5) != FEOX_OK ||
        feox_get(store, "key", 3, &value, &size) != FEOX_OK || size != 5 ||
        memcmp(value, "value", 5) != 0) {
        return 1;
    }
    feox_free(value);
    puts(feox_build_info());
    return feox_close(store) != FEOX_OK;
}
C

# program NAME LIBRARIES...: builds the program with them and runs it.
program() {
    local name=$1
    shift
    # shellcheck disable=SC2046
    "$cc" -std=c11 -Wall -Werror $(pkg-config --cflags feox) "$work/program.c" -o "$work/$name" \
        "$@" && LD_LIBRARY_PATH=$libdir "$work/$name"
}
with_shared() {
    # shellcheck disable=SC2046
    program shared $(pkg-config --libs feox)
}
with_static() {
    # The archive in place of -lfeox: with both at hand the linker prefers the shared library.
    local libs
    libs=$(pkg-config --static --libs feox) || return 1
    # shellcheck disable=SC2086
    program static ${libs/-lfeox/-l:libfeox.a} && none "$(readelf -d "$work/static" | grep libfeox)"
}
with_jemalloc() {
    # shellcheck disable=SC2046
    program jemalloc $(pkg-config --libs feox-jemalloc) >"$work/info" && cat "$work/info" &&
        grep -q jemalloc "$work/info"
}
with_cmake() {
    mkdir -p "$work/cmake" && cat >"$work/cmake/CMakeLists.txt" <<'C' &&
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(feox 1.0 CONFIG REQUIRED)
foreach(kind shared static)
  add_executable(with_${kind} ../program.c)
  target_link_libraries(with_${kind} PRIVATE feox::${kind})
endforeach()
C
        cmake -G Ninja -S "$work/cmake" -B "$work/cmake/build" -DCMAKE_PREFIX_PATH="$work/prefix" &&
        cmake --build "$work/cmake/build" && "$work/cmake/build/with_shared" &&
        "$work/cmake/build/with_static"
}
check pkg_config_shared with_shared
check pkg_config_static with_static
if [ -e "$libdir/pkgconfig/feox-jemalloc.pc" ]; then
    check pkg_config_jemalloc with_jemalloc
else
    skip pkg_config_jemalloc "jemalloc is not installed"
fi
check cmake_package with_cmake

# ---- Loaded at run time, where static TLS would fail ----

if command -v python3 >/dev/null; then
    check python_ctypes python3 - "$libdir/libfeox.so.1" <<'P'
import ctypes, sys
feox = ctypes.CDLL(sys.argv[1])
feox.feox_version.restype = ctypes.c_char_p
assert feox.feox_version() == b"1.0.0", feox.feox_version()
store = ctypes.c_void_p()
assert feox.feox_open(None, None, ctypes.byref(store)) == 0
assert feox.feox_insert(store, b"key", ctypes.c_size_t(3), b"value", ctypes.c_size_t(5)) == 0
assert feox.feox_close(store) == 0
P
else
    skip python_ctypes "python3 is not installed"
fi

[ "$failed" -eq 0 ]
