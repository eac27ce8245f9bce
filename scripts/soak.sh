#!/bin/bash
# soak.sh - does the server survive: an ASan and UBSan build of it at saturation, and stops under load.
#
#   scripts/soak.sh [MINUTES [OPTION ...]]
#                                   good and bad requests and clients that leave, for so long (default: 30); options of
#                                   bench/endure.py. BUILD=DIR: the sanitized build that lies there
#   scripts/soak.sh --stops [N]     N stops under load (default: 50), of the release build: no accepted request unanswered
#
# The last line has the figures; exit status 1 when something did not hold. docs/RELIABILITY.md says what is looked at.
# Freed memory stays poisoned until 16 MiB of it wait, so that memory that grows is the server's own.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh

out=build-test
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES python3
if [ "${1:-}" = --stops ]; then
    TARGETS=server/ebm-server build_in build
    exec python3 tests/e2e/serve_life.py build/server/ebm-server --stops "${2:-50}"
fi

build=${BUILD:-$out/soak}
[ -n "${BUILD:-}" ] || TARGETS=server/ebm-server build_in "$build" -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
reports=$root/$out/soak-reports
rm -rf "$reports"
mkdir -p "$reports"
export OPENBLAS_NUM_THREADS=1
export ASAN_OPTIONS="detect_leaks=1:quarantine_size_mb=16:thread_local_quarantine_size_kb=64:malloc_context_size=8:log_path=$reports/asan"
export LSAN_OPTIONS="log_path=$reports/lsan"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:log_path=$reports/ubsan"
status=0
python3 bench/endure.py "$build/server/ebm-server" --minutes "${1:-30}" --reports "$reports" "${@:2}" || status=$?
find "$reports" -type f -exec head -n 40 {} +
exit $status
