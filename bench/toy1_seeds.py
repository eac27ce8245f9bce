#!/usr/bin/env python3
"""Toy 1 over many seeds: KL of each model, median, and how it stands beside PyTorch.

  bench/toy1_seeds.py --trainer build/trainer/ebm-trainer [--seeds 20] [--data FILE] [--test FILE] [--torch FILE]
                      [--first-seed 0] [--epochs 75] [--threads 1] [--numpy] [--output FILE]

Trains examples/toy1 with the seeds 0, 1, ... 19 on --data (default: 2000 rows of `generate toy1 --seed 0`).
--torch   lines of JSON, one a seed, with the key "KL" and maybe "wall_s": prints the ratio of the medians and its 90 %
          bootstrap interval (both sides resampled)
--test    a CSV with columns x,y: for every model the mean of log p_true - log p_model over its rows, paired, in its own
          standard errors; below -3 a model would beat the truth, which means a wrong normaliser
--numpy   as a check, KL is computed a second time by NumPy from the weights in the file, the network in single precision
Needs Python 3 alone; --numpy needs NumPy."""
import argparse
import json
import math
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=75)
    parser.add_argument("--threads", type=int, default=1)
    for name in ("--data", "--test", "--torch", "--output"):
        parser.add_argument(name)
    parser.add_argument("--numpy", action="store_true")
    return parser.parse_args()


def true_log_density(x, y):
    def normal(mean, std):
        return math.exp(-0.5 * ((y - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
    if x < 0:
        p = 0.8 * normal(math.sin(x), 0.075) + 0.2 * normal(-math.sin(x), 0.075)
    else:
        p = math.exp(-0.5 * (math.log(y + 1) / 0.25) ** 2) / ((y + 1) * 0.25 * math.sqrt(2 * math.pi))
    return math.log(p)


def numpy_kl(path):
    """KL by the published protocol, from the weights, without our code."""
    import numpy as np
    with open(path, "rb") as file:
        blob = file.read()
    size = struct.unpack("<Q", blob[:8])[0]
    tensors = {}
    for name, entry in json.loads(blob[8:8 + size]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            tensors[name] = np.frombuffer(blob[8 + size + first:8 + size + last], np.float32).reshape(entry["shape"])

    def layer(name, v):
        return v @ tensors[name + ".weight"].T + tensors[name + ".bias"]

    def relu(v):
        return np.maximum(v, np.float32(0))

    grid = np.linspace(-3, 3, 2048)
    y = grid.astype(np.float32)[:, None]
    g = relu(layer("target_net.1", relu(layer("target_net.0", y))))
    total = 0.0
    for x in np.linspace(-3, 3, 2048, dtype=np.float32):
        h = relu(layer("feature_net.1", relu(layer("feature_net.0", np.array([[x]], np.float32)))))
        z = relu(layer("energy_net.0", np.concatenate([np.repeat(h, len(g), 0), g], 1)))
        z = relu(layer("energy_net.1", z)) + z
        s = np.exp(layer("energy_net.2", z)[:, 0].astype(np.float64))  # in single it may underflow where f drifts down
        s = s if s.sum() > 1e-40 else np.ones_like(s)
        p = s / s.sum()
        if x < 0:
            t = sum(w * np.exp(-0.5 * ((grid - m) / 0.075) ** 2) for w, m in ((0.8, np.sin(x)), (0.2, -np.sin(x))))
            t = t / (0.075 * np.sqrt(2 * np.pi))
        else:
            t = np.zeros_like(grid)
            k = grid > -1
            t[k] = np.exp(-0.5 * (np.log(grid[k] + 1) / 0.25) ** 2) / ((grid[k] + 1) * 0.25 * np.sqrt(2 * np.pi))
        t = t + 1e-30
        t = t / t.sum()
        total += float(np.sum(t * np.log(t / p))) / 2048
    return total


def paired_gain(trainer, model, test, work):
    """Mean of log p_true - log p_model over the rows of `test`, and its standard error."""
    row_nll = os.path.join(work, "nll.csv")
    subprocess.run([trainer, "evaluate", "--model", model, "--data", test, "--row-nll", row_nll], check=True,
                   stdout=subprocess.DEVNULL)
    with open(test, encoding="utf-8") as file:
        rows = [tuple(map(float, line.split(","))) for line in list(file)[1:]]
    with open(row_nll, encoding="utf-8") as file:
        nll = [float(line.split(",")[1]) for line in list(file)[1:]]
    gains = [true_log_density(x, y) + v for (x, y), v in zip(rows, nll, strict=True)]
    return statistics.fmean(gains), statistics.stdev(gains) / math.sqrt(len(gains))


def one_seed(arguments, seed, data, work):
    output = os.path.join(work, str(seed))
    begin = time.perf_counter()
    config = os.path.join(ROOT, "examples", "toy1", "config.json")
    subprocess.run([arguments.trainer, "train", "--config", config, "--data", data, "--output", output,
                    "--threads", str(arguments.threads), "--set", f"training.seed={seed}",
                    "--set", f"training.epochs={arguments.epochs}"], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - begin
    model, figures = os.path.join(output, "model.safetensors"), os.path.join(work, "kl.json")
    subprocess.run([arguments.trainer, "evaluate", "--model", model, "--protocol", "toy1", "--output", figures],
                   check=True, stdout=subprocess.DEVNULL)
    with open(figures, encoding="utf-8") as file:
        line = {"seed": seed, "KL": json.load(file)["kl"], "wall_s": round(wall, 2)}
    if arguments.test:
        gain, error = paired_gain(arguments.trainer, model, arguments.test, work)
        line |= {"gain": gain, "gain_in_errors": gain / error}
    if arguments.numpy:
        line["numpy_KL"] = numpy_kl(model)
    return line


def bootstrap_ratio(ours, theirs, draws=10000):
    random.seed(1)
    ratios = sorted(statistics.median(random.choices(ours, k=len(ours))) /
                    statistics.median(random.choices(theirs, k=len(theirs))) for _ in range(draws))
    return ratios[draws // 20], ratios[-draws // 20]


def summarize(arguments, lines):
    kl = [line["KL"] for line in lines]
    print(f"KL over {len(kl)} seeds: median {statistics.median(kl):.5f}, mean {statistics.fmean(kl):.5f}, "
          f"mean of the best 5 {statistics.fmean(sorted(kl)[:5]):.5f}")
    if arguments.test:
        print(f"log p_true - log p_model: least {min(line['gain_in_errors'] for line in lines):.2f} standard errors, "
              f"median {statistics.median(line['gain'] for line in lines):.4f} nats")
    if arguments.numpy:
        print(f"largest difference from NumPy's KL: {max(abs(line['KL'] - line['numpy_KL']) for line in lines):.2e}")
    if arguments.torch:
        with open(arguments.torch, encoding="utf-8") as file:
            peer = [json.loads(line) for line in file if line.strip().startswith("{")]
        theirs = [line["KL"] for line in peer]
        low, high = bootstrap_ratio(kl, theirs)
        print(f"PyTorch over {len(theirs)} seeds: median {statistics.median(theirs):.5f}")
        print(f"ratio of the medians: {statistics.median(kl) / statistics.median(theirs):.3f}, 90 % bootstrap interval "
              f"{low:.3f} to {high:.3f}")
        if all("wall_s" in line for line in peer):
            print(f"training time: {statistics.median(line['wall_s'] for line in lines):.1f} s, PyTorch "
                  f"{statistics.median(line['wall_s'] for line in peer):.1f} s (medians)")


def main():
    arguments = read_arguments()
    arguments.trainer = os.path.abspath(arguments.trainer)
    lines = []
    with tempfile.TemporaryDirectory(prefix="ebm-toy1-") as work:
        data = arguments.data
        if data is None:
            data = os.path.join(work, "toy1.csv")
            subprocess.run([arguments.trainer, "generate", "toy1", "--rows", "2000", "--seed", "0", "--output", data],
                           check=True, stdout=subprocess.DEVNULL)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            lines.append(one_seed(arguments, seed, data, work))
            print(json.dumps(lines[-1]), flush=True)
    summarize(arguments, lines)
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
