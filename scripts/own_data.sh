#!/bin/bash
# own_data.sh - the way from a table of your own to answers: checks it, trains, evaluates on rows held back, publishes,
# serves, and asks with ebm-client.
#
#   scripts/own_data.sh FILE.csv TARGET[,TARGET ...] [EPOCHS]
#
# FILE has a header and numbers only; every column that is no target is an input. A tenth of the rows is held back as
# FILE's test rows. Everything lies in build/own/NAME afterwards, NAME being the file's; it is written anew each time.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
csv=$(realpath "$1") targets=$2 epochs=${3:-100}
cd "$root"
. scripts/lib.sh
name=$(basename "$csv" .csv)
work=build/own/$name
server_pid=""
trap "stop_server || true" EXIT
trap 'exit 130' INT TERM

# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES libcurl4-openssl-dev python3
say "building in build/"
find_clients build
build_in build

say "a training and a test table, and a configuration, in $work"
rm -rf "$work" && mkdir -p "$work"
awk -v train="$work/train.csv" -v test="$work/test.csv" \
    'NR == 1 { print > train; print > test; next } { print > (NR % 10 == 0 ? test : train) }' "$csv"
python3 - "$work" "$name" "$targets" "$epochs" <<'PY'
import json, sys
work, name, targets, epochs = sys.argv[1:]
with open("examples/template.json", encoding="utf-8") as file:
    config = json.load(file)
config["data"].update(file="train.csv", targets=targets.split(","))
config["model"]["name"] = name
config["training"]["epochs"] = int(epochs)
with open(f"{work}/config.json", "w", encoding="utf-8") as file:
    json.dump(config, file, indent=2)
PY
wc -l "$work"/*.csv | head -n 2

say "ebm-trainer validate"
build/trainer/ebm-trainer validate "$work/config.json"

say "ebm-trainer train"
build/trainer/ebm-trainer train --config "$work/config.json" --output "$work/run" --publish "$work/models/$name" \
    >"$work/train.log" 2>&1 || { tail -n 20 "$work/train.log" >&2; exit 1; }
grep -E '^epoch' "$work/train.log" | tail -n 2
grep -A 1 '^the best epoch' "$work/train.log" || true

say "ebm-trainer evaluate, on rows that it has not seen"
build/trainer/ebm-trainer evaluate --model "$work/run/model.safetensors" --data "$work/test.csv"

say "ebm-server on a free port of 127.0.0.1"
start_server build/server/ebm-server "$work/server.log" --model-repository "$work/models"

say "ebm-client predict, the first test rows"
head -n 4 "$work/test.csv" >"$work/ask.csv"
cat "$work/ask.csv"
build/clients/ebm-client predict --server "http://127.0.0.1:$port" --model "$name" --data "$work/ask.csv" \
    --outputs mean,std --quantiles 0.05,0.5,0.95 --seed 1
stop_server

say "done; to serve it again"
echo "cd $root"
echo "build/server/ebm-server --model-repository $work/models"
