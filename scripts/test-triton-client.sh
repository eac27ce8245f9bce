#!/bin/bash
# test-triton-client.sh - Triton's own Python client, from PyPI and unchanged, asks a server over the Open Inference Protocol.
# Exit status 1 on a failure.
#
#   scripts/test-triton-client.sh [SERVER [FOLDER]]      build/server/ebm-server, build-test/triton-client
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
version=2.73.0
server=${1:-$root/build/server/ebm-server}
folder=${2:-$root/build-test/triton-client}
[ -x "$server" ] || { echo "no server at $server: ninja -C build" >&2; exit 1; }
server=$(realpath "$server")
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=$folder/venv/bin/python

[ -x "$python" ] || python3 -m venv "$folder/venv"
"$python" -m pip --disable-pip-version-check --quiet install "tritonclient[http]==$version"
"$python" -B "$root/tests/clients/oip_triton.py" "$server"
