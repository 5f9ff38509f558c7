#!/bin/sh
# Builds librocksdb.a once for this user and prints how to use it:
#
#     eval "$(broker/state/build-rocksdb.sh)"
#
# RocksDB is 343 C++ files: a quarter of an hour on two cores. Without this every profile, feature set and clippy would
# compile them again; with it only the first one does. The library is the very one that the crate builds: same version,
# same features (read from Cargo.lock and Cargo.toml). Idempotent; what it says goes to stderr, the exports to stdout.
set -eu

say() { echo "build-rocksdb: $*" >&2; }

root=$(cd "$(dirname "$0")/../.." && pwd)
version=$(awk '/^name = "librocksdb-sys"$/ { getline; gsub(/version = |"/, ""); print; exit }' "$root/Cargo.lock")
wrapper=$(awk '/^name = "rocksdb"$/ { getline; gsub(/version = |"/, ""); print; exit }' "$root/Cargo.lock")
if [ -z "$version" ] || [ -z "$wrapper" ]; then
    say "Cargo.lock names no librocksdb-sys; run this from a checkout of Ottla"
    exit 1
fi
features="lz4 zstd"
kept="${OTTLA_CACHE:-$HOME/.cache/ottla}/rocksdb-$version-$(echo "$features" | tr ' ' '-')-$(uname -m)"

# libclang itself: libclang-cpp, which many machines have without it, is another library.
find_libclang() {
    for folder in /usr/lib/llvm-*/lib /usr/lib/* /usr/lib64; do
        ls "$folder"/libclang.so* "$folder"/libclang-[0-9]*.so* 2>/dev/null || true
    done | head -n 1
}

install() {
    if ! command -v apt-get >/dev/null 2>&1; then
        say "missing: $*. Install these packages of your system (bindings need libclang, RocksDB a C++ compiler), then run this again."
        exit 1
    fi
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo="sudo"
    say "installing $* (apt)"
    $sudo apt-get install -y --no-install-recommends "$@" >&2 || {
        $sudo apt-get update >&2
        $sudo apt-get install -y --no-install-recommends "$@" >&2
    }
}

# The bindings are generated on every first build, so libclang is needed even when the library is there.
if [ -z "${LIBCLANG_PATH:-}" ] && [ -z "$(find_libclang)" ]; then
    install libclang-dev
fi

if [ ! -f "$kept/librocksdb.a" ]; then
    command -v c++ >/dev/null 2>&1 || install g++
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    say "compiling RocksDB $version with $features once, about 15 minutes on two cores; it will be kept in $kept"
    mkdir -p "$work/src"
    : > "$work/src/lib.rs"
    cat > "$work/Cargo.toml" <<MANIFEST
[package]
name = "rocksdb-once"
version = "0.0.0"
edition = "2024"
[workspace]
[dependencies]
rocksdb = { version = "=$wrapper", default-features = false, features = ["lz4", "zstd", "bindgen-runtime"] }
[profile.release.package.librocksdb-sys]
opt-level = 3
debug = false
MANIFEST
    # The versions of the checkout's lock file, as far as they apply.
    cp "$root/Cargo.lock" "$work/Cargo.lock"
    (
        cd "$work"
        unset ROCKSDB_LIB_DIR ROCKSDB_STATIC CARGO_TARGET_DIR
        cargo build --release -p librocksdb-sys --target-dir "$work/target" >&2
    ) &
    build=$!
    while kill -0 "$build" 2>/dev/null; do
        sleep 15
        done_=$(find "$work/target" -name '*.o' 2>/dev/null | wc -l)
        say "compiled $done_ files"
    done
    wait "$build"
    built=$(find "$work/target/release/build" -path '*librocksdb-sys-*/out/librocksdb.a' | head -n 1)
    if [ -z "$built" ]; then
        say "the build left no librocksdb.a; its messages are above"
        exit 1
    fi
    mkdir -p "$kept"
    # Renamed into place at the end: a half-written library is never found.
    cp "$built" "$kept/librocksdb.a.tmp"
    mv "$kept/librocksdb.a.tmp" "$kept/librocksdb.a"
    say "kept $kept/librocksdb.a"
fi

echo "export ROCKSDB_LIB_DIR='$kept'"
echo "export ROCKSDB_STATIC=1"
