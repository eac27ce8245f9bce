#!/bin/bash
# draws.sh [WORK] - trains models of 1, 2, 3 and 7 targets on data made here and compares ways to draw from them: the
# table of docs/MATHEMATICS.md, "Draws". About four minutes on one core.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$(mktemp -d)}
export OPENBLAS_NUM_THREADS=1
for dim in 1 2 3 7; do
    python3 - "$dim" "$work" <<'PY'
import json, math, random, sys
D, work = int(sys.argv[1]), sys.argv[2]
random.seed(D)
X = 3
with open(f"{work}/data{D}.csv", "w", encoding="utf-8") as file:  # two curved modes, the noise of one target grows with another
    file.write(",".join([f"x{i}" for i in range(X)] + [f"y{d}" for d in range(D)]) + "\n")
    for _ in range(3000):
        x = [random.gauss(0, 1) for _ in range(X)]
        side = 1 if random.random() < 1 / (1 + math.exp(-x[1])) else -1
        y = []
        for d in range(D):
            center = math.sin(x[d % X] + d) + 0.8 * side * (0.5 + abs(math.cos(x[(d + 1) % X])))
            y.append(center + (0.2 + 0.15 * abs(y[-1] if y else x[0])) * random.gauss(0, 1))
        file.write(",".join(f"{v:.6f}" for v in x + y) + "\n")
relu = lambda n: {"type": "linear", "out": n, "activation": "relu"}
head = lambda n: [relu(16), {"type": "linear", "out": n}]
json.dump({
    "data": {"file": f"data{D}.csv", "inputs": [f"x{i}" for i in range(X)], "targets": [f"y{d}" for d in range(D)], "validation": 0.1},
    "model": {"format_version": 1, "name": f"draws{D}", "input": {"kind": "vector"}, "target": {},
              "feature_net": [relu(32), relu(32)], "target_net": [relu(16), relu(16)],
              "energy_net": [relu(32), {"type": "linear", "out": 1}],
              "proposal": {"kind": "gaussian_mixture", "components": 4, "mean_net": head(4 * D), "log_variance_net": head(4 * D),
                           "weight_net": head(4)}},
    "training": {"method": "nce_kl", "epochs": 20, "batch_size": 32, "samples": 256, "warmup_epochs": 2, "seed": 0}},
    open(f"{work}/train{D}.json", "w", encoding="utf-8"))
PY
    "$top/build/trainer/ebm-trainer" train --config "$work/train$dim.json" --output "$work/out$dim" --threads 1 --overwrite >"$work/log$dim"
    "$top/build/bench/bench-draws" "$work/out$dim/model.safetensors" 16 100
done
