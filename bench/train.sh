#!/bin/bash
# train.sh MODEL(T|V|V2) [ROUNDS] - training steps/s (nce_kl, B 32, M 1024, one thread; our ml_exact beside PyTorch's nce_kl
# too) and predictions/s without HTTP, ours beside PyTorch's, interleaved, where the peers are at hand (PEERS=folder with
# torch_bench.py, torch_export.py; default ../shared/bench). PyTorch with its allocator tuned and the x part of the first
# layer computed once a row.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
model=${1:-T} rounds=${2:-9}
peers=${PEERS:-$top/../shared/bench}
if [ ! -f "$peers/torch_bench.py" ]; then
    echo "train.sh: no peers in $peers; build/bench/bench-device MODEL.safetensors measures ours alone" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
/usr/bin/python3 "$peers/torch_export.py" "$model" "$work/m.safetensors" >/dev/null
export OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
for _ in $(seq "$rounds"); do
    MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 /usr/bin/python3 "$peers/torch_bench.py" \
        --threads 1 --models "$model" --what pred,train --secs 1 --rounds 1 --train-rounds 1 >>"$work/torch"
    "$top/build/bench/bench-device" "$work/m.safetensors" 1024 0.3 >>"$work/ours"
done
/usr/bin/python3 - "$work/torch" "$work/ours" "$model" <<'PY'
import json, re, statistics as st, sys
rates = {}
for line in open(sys.argv[1]):
    r = json.loads(line)
    key = ("steps", r["batch"]) if r["kind"] == "train_step" else ("predictions", r["batch"])
    if r["kind"] == "train_step" and (not r["factored"] or r["frozen_features"]):
        continue
    rates.setdefault(("torch",) + key, []).append(r.get("steps_per_s", r.get("factored")))
for line in open(sys.argv[2]):
    m = re.match(r"(\w+)\s+B\s+(\d+)\s+([\d.]+) /s", line)
    if m:
        rates.setdefault(("ours", m.group(1), int(m.group(2))), []).append(float(m.group(3)))
print(f"{sys.argv[3]}, one thread, M 1024: median [range] of {len(next(iter(rates.values())))} interleaved rounds")
for what, batch in (("predictions", 1), ("predictions", 8), ("predictions", 32), ("steps", 32), ("ml_exact", 32)):
    if ("ours", what, batch) not in rates:
        continue
    a, b = rates["ours", what, batch], rates["torch", "steps" if what == "ml_exact" else what, batch]
    pairs = [x / y for x, y in zip(a, b)]
    print(f"{what:12s} B {batch:3d}  ours {st.median(a):9.1f} [{min(a):.1f}..{max(a):.1f}]  PyTorch {st.median(b):8.1f} "
          f"[{min(b):.1f}..{max(b):.1f}]  ratio {st.median(pairs):.2f} [{min(pairs):.2f}..{max(pairs):.2f}]")
PY
