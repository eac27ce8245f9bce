#!/bin/bash
# images.sh --peers DIR [more for bench/images.py] - builds, and measures a server of images, ResNet-18 on 3 x 64 x 64,
# beside PyTorch's server of the same weights and beside the trunk alone. Prints a table, writes out/images.json. A
# quarter of an hour of a quiet machine.
#
# --peers DIR: the folder with torch_models.py and torch_export.py, as for run.sh.
# Needs wrk; the peers need python3-torch, python3-uvicorn, python3-uvloop, python3-httptools.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh
[ "${1:-}" = --peers ] && [ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
peers=$(realpath "$2")
shift 2
command -v wrk >/dev/null || { echo "images.sh: wrk is missing (apt install wrk)" >&2; exit 1; }
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES
TARGETS="server/ebm-server trainer/ebm-trainer bench/bench-trunk" build_in build
mkdir -p out
python3 bench/images.py --build build --peers "$peers" --output out/images.json "$@"
