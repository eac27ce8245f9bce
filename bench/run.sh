#!/bin/bash
# run.sh [--peers DIR] [--quick] - builds, measures server and trainer beside PyTorch and the machine's limits, prints the
# tables and, where it was a whole run with peers, writes them into docs/PERFORMANCE.md. About half an hour, at most 35
# minutes; --quick at most eight.
#
# --peers DIR (or PEERS=DIR): PyTorch's implementations of the same networks, with run_peer.sh, torch_bench.py,
# torch_train_toy.py, torch_export.py and check_answers.py. Without it our programs and the limits are measured alone.
# Needs wrk; the peers need python3-torch, python3-fastapi, python3-uvicorn, python3-uvloop, python3-httptools, python3-ujson.
# A quiet machine: what is measured while others use more than a tenth of a core is void and made again.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh

peers=${PEERS:-}
quick=""
while [ $# -gt 0 ]; do
    case $1 in
    --peers) peers=$2; shift ;;
    --quick) quick=--quick ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
command -v wrk >/dev/null || { echo "run.sh: wrk is missing (apt install wrk)" >&2; exit 1; }
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES
say "building"
TARGETS="server/ebm-server trainer/ebm-trainer bench/bench-floor bench/bench-device bench/bench-kernels" build_in build
say "measuring"
export OPENBLAS_CORETYPE="${OPENBLAS_CORETYPE:-$(python3 bench/blas_core.py)}"
[ -n "$OPENBLAS_CORETYPE" ] || unset OPENBLAS_CORETYPE
python3 bench/run.py --build build --output out/bench.json $quick ${peers:+--peers "$(realpath "$peers")"}
if [ -n "$quick" ] || [ -z "$peers" ]; then
    python3 bench/report.py out/bench.json
else
    python3 bench/report.py out/bench.json --write docs/PERFORMANCE.md
fi
