#!/bin/bash
# serve.sh MODEL(T|V|V2) [ROUNDS [CONNECTIONS]] - our server beside the strongest PyTorch peer, interleaved, where the peers
# are at hand (PEERS=folder with run_peer.sh, http_bench.py, torch_export.py; default ../shared/bench). Same weights, 1024
# independent draws, mean and std. Prints requests/s, latencies and the server's CPU microseconds a request.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
model=${1:-T} rounds=${2:-9} connections=${3:-1,16,64}
peers=${PEERS:-$top/../shared/bench}
if [ ! -f "$peers/run_peer.sh" ]; then
    echo "serve.sh: no peers in $peers; bench/soak.py and wrk measure this server alone" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/models/$model/1"
/usr/bin/python3 "$peers/torch_export.py" "$model" "$work/models/$model/1/model.safetensors" >/dev/null
case $model in
    T) x='[0.37]' ;;
    *) x='[0.6888, 0.5159, -0.1589, -0.4822, 0.0225, -0.1901, 0.5676, -0.3934, -0.0468, 0.1668, 0.8162, 0.0094, -0.4363, 0.5116, 0.2367, -0.499]' ;;
esac
printf '{"model": "%s", "inputs": [%s], "num_samples": 1024, "estimator": "importance"}' "$model" "$x" >"$work/ours.json"
/usr/bin/python3 "$peers/http_bench.py" --conns "$connections" --secs 3 --rounds "$rounds" \
    "peer@bodies/$model.json=bash $peers/run_peer.sh $model batch 1 1 2 {port}" \
    "ours@$work/ours.json=$top/build/server/ebm-server --model-repository $work/models --log-level warning --port {port}"
