#!/bin/bash
# test-aarch64.sh - builds everything for 64-bit ARM and runs what tests of core there are, and the golden values, under
# QEMU's user mode: the kernels in plain C, as an ARM machine has them.
#
# Needs Debian's cross compiler, qemu-user-static and mmdebstrap, which it installs, and a mirror for ARM's libraries, which
# are unpacked (not installed) into build-test/aarch64/root, once. DEBIAN_MIRROR=URL names another mirror.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh

out=$root/build-test/aarch64
libraries=$out/root/usr/lib/aarch64-linux-gnu

# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static mmdebstrap
mkdir -p "$out"
# shellcheck disable=SC2086
needed=$(printf '%s\n' $BUILD_PACKAGES | grep -e '-dev$' | paste -sd ,)
if [ "$(cat "$out/root/.packages" 2>/dev/null)" != "$needed" ]; then
    say "unpacking ARM's libraries"
    rm -rf "$out/root"
    mmdebstrap --quiet --arch=arm64 --variant=extract --format=directory \
        --include="$needed" bookworm "$out/root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
    printf '%s' "$needed" >"$out/root/.packages"
fi
sed "s|@ROOT@|$out/root|" scripts/aarch64.ini.in >"$out/cross.ini"
build_in "$out/build" --cross-file "$out/cross.ini" -Dwerror=true
say "tests under QEMU"
meson test -C "$out/build" --no-rebuild --suite unit --timeout-multiplier 30 --print-errorlogs
say "the server says its version"
qemu-aarch64-static -L "$out/root" -E LD_LIBRARY_PATH="$libraries/openblas-pthread" "$out/build/server/ebm-server" --version
