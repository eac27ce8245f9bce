#!/bin/bash
# schemathesis.sh - asks a server what its own description allows and forbids: Schemathesis makes requests from
# /openapi.json, valid and invalid ones, and compares statuses, headers, types and bodies with what is written there.
# Every check, every phase, one seed. Exit status 1 on a failure.
#
#   scripts/schemathesis.sh [SERVER [FOLDER]]      build/server/ebm-server, build-test/schemathesis
#   SCHEMA=FILE      this description instead of the server's
#   EXAMPLES=200     requests per operation, in the phases that draw them
#   SEED=1
#   MODEL=relu_1d    the model that is served, of tests/golden
#
# Schemathesis comes from PyPI, at one version, into FOLDER/venv; reports and the server's log lie in FOLDER.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/lib.sh"
version=4.32.5

server=${1:-$root/build/server/ebm-server}
folder=${2:-$root/build-test/schemathesis}
[ -x "$server" ] || { echo "no server at $server: ninja -C build" >&2; exit 1; }
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

if [ "$("$folder/venv/bin/st" --version 2>/dev/null)" != "st, version $version" ]; then
    echo "== installing schemathesis $version into $folder/venv"
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

# Narrower than its defaults, which pass any 5xx for valid data. 504 is what a request with a short timeout_ms asked for.
cat >"$folder/schemathesis.toml" <<'TOML'
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "504"]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "404", "504"]
[checks.negative_data_rejection]
expected-statuses = ["400", "404", "405", "413", "415"]
TOML

server_pid=""
trap 'stop_server || true' EXIT
trap 'exit 130' INT TERM

rm -rf "$folder/models"
model=${MODEL:-relu_1d}
mkdir -p "$folder/models/$model/1"
cp "$root/tests/golden/$model/model.safetensors" "$folder/models/$model/1/"
# As many priorities as the description speaks of.
echo '{"priority_levels": 16}' >"$folder/models/$model/serving.json"
# A schema bounds fields, not their product: with few samples and steps nothing can be too large or slow.
start_server "$server" "$folder/server.log" --model-repository "$folder/models" --max-samples 4096 --max-steps 50 \
    --model-control on
url=http://127.0.0.1:$port

if [ -n "${SCHEMA:-}" ]; then
    location=("$(realpath "$SCHEMA")" --url "$url")
else
    location=("$url/openapi.json")
fi
export SCHEMATHESIS_HOOKS="$root/scripts/schemathesis_hooks.py"
cd "$folder" # it leaves its cache where it stands
status=0
venv/bin/st --config-file schemathesis.toml run "${location[@]}" --checks all \
    --phases examples,coverage,fuzzing,stateful --mode all --max-examples "${EXAMPLES:-200}" --seed "${SEED:-1}" \
    --workers 1 --generation-database none --continue-on-failure --request-timeout 60 --wait-for-schema 30 --no-color \
    --report ndjson --report-ndjson-path report.ndjson || status=1

if ! stop_server; then
    echo "the server did not end well:" >&2
    tail -n 20 "$folder/server.log" >&2
    status=1
fi
exit $status
