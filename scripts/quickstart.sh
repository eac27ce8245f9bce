#!/bin/sh
# quickstart.sh - from nothing to an answer: installs what is missing, builds, trains on the Old Faithful geyser, serves the
# model on a free port of 127.0.0.1, asks it, shows what the answer means, stops the server. Run it again as often as you like.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh

work=build/quickstart
server_pid=""
trap "stop_server || true" EXIT
trap 'exit 130' INT TERM

# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES libcurl4-openssl-dev curl

say "building in build/"
find_clients build
build_in build

say "training: how long will Old Faithful erupt, given how long we waited?"
rm -rf "$work"
mkdir -p "$work"
build/trainer/ebm-trainer train --config examples/geyser/config.json --output "$work/geyser" \
    --publish "$work/models/geyser" >"$work/train.log" 2>&1 || { tail -n 20 "$work/train.log" >&2; exit 1; }
grep -E '^epoch' "$work/train.log" | tail -n 1

say "serving it on a free port of 127.0.0.1"
start_server build/server/ebm-server "$work/server.log" --model-repository "$work/models"

request='{"model": "geyser", "inputs": [[80]], "outputs": ["mean", "std", "quantiles"], "seed": 1}'
say "asking: after a wait of 80 minutes"
echo "curl http://127.0.0.1:$port/predict -d '$request'"
echo
curl -sS --fail-with-body --max-time 20 "http://127.0.0.1:$port/predict" -H 'Content-Type: application/json' -d "$request"
echo

say "what that means"
build/trainer/ebm-trainer predict --model "$work/geyser/model.safetensors" --input 80 --seed 1 --draw
cat <<TEXT

The mean alone would mislead. Old Faithful has two kinds of eruption, of about two and of about four minutes, and after
this wait either may come; hardly any lasts as long as the mean. The server answers with the whole of it: mean, spread,
quantiles, and in "diagnostics" how far to trust them.
TEXT
stop_server

say "done; to start the server again"
echo "cd $root"
echo "build/server/ebm-server --model-repository $work/models --port 8080"
echo "curl http://127.0.0.1:8080/predict -d '$request'"
