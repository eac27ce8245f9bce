#!/bin/bash
# check-monitoring.sh [BUILD] - compose.yaml and what it mounts: parses every file, lets promtool judge Prometheus' configuration
# and try its alerts, starts a Prometheus with them beside a real server, and asks it for every expression of the dashboard. Takes half
# a minute; leaves nothing behind.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh
. deploy/lib.sh
build=${1:-build}

install_packages prometheus python3-yaml
work=$(mktemp -d /var/tmp/ebm-monitoring-XXXXXX)
server_pid=""
prometheus_pid=""
cleanup() {
    [ -z "$prometheus_pid" ] || { kill "$prometheus_pid" 2>/dev/null && wait "$prometheus_pid" 2>/dev/null; } || true
    stop_server || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say "files: all parse, what compose.yaml mounts is there, services and ports fit together"
python3 deploy/check-monitoring.py files
promtool check config deploy/prometheus/prometheus.yml
promtool test rules deploy/prometheus/alerts_test.yml

say "a server, and Prometheus with our configuration"
mkdir -p "$work/models/relu_1d/1"
cp tests/golden/relu_1d/model.safetensors "$work/models/relu_1d/1/"
start_server "$build/server/ebm-server" "$work/server.log" --model-repository "$work/models"
address=127.0.0.1:$(free_port)
sed -e "s/ebm-server:8080/127.0.0.1:$port/" -e 's/: 15s/: 1s/' deploy/prometheus/prometheus.yml >"$work/prometheus.yml"
cp deploy/prometheus/alerts.yml "$work/"
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --web.listen-address="$address" \
    >"$work/prometheus.log" 2>&1 &
prometheus_pid=$!

say "every expression of the dashboard, asked while requests run"
python3 deploy/check-monitoring.py ask "http://$address" "http://127.0.0.1:$port" || { tail -n 20 "$work/prometheus.log" >&2; exit 1; }
