#!/bin/bash
# test-triton-client.sh - Triton's own Python client, from PyPI and unchanged, asks a server over the Open Inference Protocol.
# Exit status 1 on a failure.
#
#   scripts/test-triton-client.sh [SERVER [FOLDER]]      build/server/ebm-server, build-test/triton-client
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
version=2.73.0
. "$root/scripts/lib.sh"
client_venv triton-client "$@"
"$python" -m pip --disable-pip-version-check --quiet install "tritonclient[http]==$version"
"$python" -B "$root/tests/clients/oip_triton.py" "$server"
