#!/bin/sh
# make_deb.sh [DIR] - builds the Debian package of the last commit into DIR (build-deb/) and asks lintian about it. What is not
# committed is not in it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh
out=${1:-build-deb}
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES libcurl4-openssl-dev dpkg-dev debhelper lintian python3

say "building the package"
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -rf "$out/source" "$out"/*.deb
mkdir "$out/source"
git archive HEAD | tar -x -C "$out/source"
next=$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
(
    cd "$out/source"
    # The package's number is debian/changelog's; the program's names the commit, which this copy does not know.
    EBM_VERSION=$("$root/scripts/version.sh" "$next" || true)
    export EBM_VERSION="${EBM_VERSION%-dirty}"
    dpkg-buildpackage -us -uc -b
) >"$out/build.log" 2>&1 || { tail -n 40 "$out/build.log" >&2; exit 1; }
rm -rf "$out/source"

say "lintian"
lintian --allow-root --fail-on error,warning "$out"/ebm-server_*.changes
ls -l "$out"/*.deb
