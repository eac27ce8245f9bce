#!/usr/bin/env python3
"""Densities, samples and predictions of one trained model agree over HTTP: the density integrates to 1, samples have the
mean and the quantiles of the prediction, weighted and resampled samples have each other's.
serve_distributions.py SERVER TRAINER ROOT"""
import json
import math
import os
import subprocess
import sys
import tempfile

from harness import SLOW, Repository, run_all, serving

TRAINER, ROOT = os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
ROWS = 200 if SLOW == 1 else 20
DRAWS = 65536
BLOCK = 20  # rows in a request
INPUTS = [[-3 + 6 * (i + 0.5) / ROWS] for i in range(ROWS)]


def train(folder):
    def run(*words):
        done = subprocess.run([TRAINER, *words], capture_output=True, text=True, cwd=folder, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-500:]

    run("generate", "toy1", "--rows", "2000", "--seed", "0", "--output", "toy1.csv")
    run("train", "--config", os.path.join(ROOT, "examples", "toy1", "config.json"), "--data", "toy1.csv", "--output", "run",
        "--set", "training.epochs=25", "--set", "training.samples=128")
    return os.path.join(folder, "run", "model.safetensors")


def ask(server, path, members):
    """One request a block of rows -> all predictions."""
    rows = []
    connection = server.connect(120)
    for first in range(0, ROWS, BLOCK):
        body = {"inputs": INPUTS[first:first + BLOCK], "estimator": "importance", **members}
        status, _, data = server.ask("POST", path, body, connection=connection)
        assert status == 200, data[:300]
        rows += json.loads(data)["predictions"]
    return rows


def worst(what, values, limit):
    """The largest of (value, row) is at most the limit."""
    value, row = max((value, row) for row, value in enumerate(values))
    print(f"      {what}: worst {value:.4g} (row {row}), limit {limit}")
    assert value <= limit, f"{what}: {value:.4g} at row {row}, limit {limit}"


def check_density(server):
    lower, upper, points = -8.0, 8.0, 2049
    step = (upper - lower) / (points - 1)
    rows = ask(server, "/density", {"grid": {"lower": lower, "upper": upper, "points": points}, "num_samples": DRAWS, "seed": 1})
    off, unsaid = [], []
    for row in rows:
        density = [math.exp(value) for value in row["log_prob"]]
        mass = step * (sum(density) - (density[0] + density[-1]) / 2)
        off.append(abs(mass - 1))
        unsaid.append(abs(math.log(mass)) / row["log_normalizer_std_error"])
        for f, p in zip(row["unnormalized_log_prob"][::97], row["log_prob"][::97]):
            assert abs(f - row["log_normalizer"] - p) < 1e-4 * max(1, abs(p)), (f, row["log_normalizer"], p)
    worst("|mass - 1| of the density", off, 0.01)
    worst("log mass in its standard errors", unsaid, 9)  # of eight parts: Student-t with 7 degrees of freedom
    return rows


def moments(values):
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def check_samples(server):
    n, probabilities = 4000, [0.05, 0.25, 0.5, 0.75, 0.95]
    predictions = ask(server, "/predict", {"outputs": ["mean", "std"], "quantiles": probabilities, "num_samples": DRAWS, "seed": 2})
    sampled = ask(server, "/sample", {"num_samples": n, "num_proposals": DRAWS, "seed": 3})
    off, shares = [], []
    for predicted, row in zip(predictions, sampled):
        values = [value[0] for value in row["samples"]]
        assert len(values) == n and "log_weights" not in row
        error = math.hypot(predicted["std"][0] / math.sqrt(n), math.sqrt(2) * predicted["diagnostics"]["mcse_mean"][0])
        off.append(abs(moments(values)[0] - predicted["mean"][0]) / error)
        # the quantile itself is known to sqrt(p (1 - p) / effective draws)
        for quantile in predicted["quantiles"]:
            p = quantile["probability"]
            share = sum(value <= quantile["value"][0] for value in values) / n
            effective = 1 / (1 / n + 2 / predicted["diagnostics"]["ess"])
            shares.append(abs(share - p) / math.sqrt(p * (1 - p) / effective))
    worst("mean of samples, in standard errors of the prediction's", off, 5)
    worst("share of samples below a predicted quantile, in standard errors", shares, 5)


def check_weighted(server):
    proposals = 2048
    weighted = ask(server, "/sample", {"resample": False, "num_proposals": proposals, "seed": 4})
    resampled = ask(server, "/sample", {"num_samples": 4000, "num_proposals": proposals, "seed": 4})
    predictions = ask(server, "/predict", {"num_samples": proposals, "seed": 4})
    same, off = [], []
    for row, drawn, predicted in zip(weighted, resampled, predictions):
        assert len(row["samples"]) == len(row["log_weights"]) == proposals
        weights = [math.exp(value) for value in row["log_weights"]]
        assert abs(sum(weights) - 1) < 1e-4, sum(weights)
        values = [value[0] for value in row["samples"]]
        mean = sum(w * y for w, y in zip(weights, values))
        same.append(abs(mean - predicted["mean"][0]) / predicted["std"][0])
        ess = 1 / sum(w * w for w in weights)
        assert abs(ess / row["diagnostics"]["ess"] - 1) < 1e-3, (ess, row["diagnostics"])
        assert {value[0] for value in drawn["samples"]} <= set(values), "resampled from other draws"
        off.append(abs(moments([value[0] for value in drawn["samples"]])[0] - mean) / (predicted["std"][0] / math.sqrt(4000)))
    worst("mean of weighted samples beside the prediction with the same seed, in std", same, 1e-4)
    worst("mean of resampled beside weighted samples, in standard errors", off, 5)


def check_integrals(server):
    """Draws agree with the integral, which has no Monte Carlo error, to what they say of their own."""
    body = {"outputs": ["mean", "std", "entropy", "log_normalizer"], "cdf": [-0.5, 0, 0.5], "crps_at": [0.2], "seed": 6}
    drawn = ask(server, "/predict", {**body, "num_samples": DRAWS, "draws": "independent"})
    off, nats, shares, scores = [], [], [], []
    for a, b in zip(drawn, ask(server, "/predict", {**body, "estimator": "quadrature"})):
        if not b["diagnostics"]["reliable"]:
            continue  # no integral
        off.append(abs(a["mean"][0] - b["mean"][0]) / math.hypot(a["diagnostics"]["mcse_mean"][0], 1e-5 * b["std"][0]))
        if a["diagnostics"]["pareto_k"] < 0.7:  # beyond, the variance of the weights is infinite: no error is too large
            nats.append(max(abs(a[name] - b[name]) for name in ("entropy", "log_normalizer")))
        shares.append(max(abs(x - y) for x, y in zip(a["cdf"], b["cdf"])))
        scores.append(abs(a["crps"][0] - b["crps"][0]) / b["std"][0])
    print(f"      {len(off)} of {len(drawn)} rows have an integral")
    if off:
        worst("mean by draws beside that by quadrature, in standard errors", off, 6)
        assert len(nats) > len(off) / 2, f"{len(nats)} of {len(off)} rows have a pareto_k below 0.7"
        worst("entropy and log Z by draws beside quadrature, in nats", nats, 0.05)
        worst("distribution function by draws beside quadrature", shares, 0.02)
        worst("CRPS by draws beside quadrature, in std", scores, 0.02)


def check_intervals(server):
    rows = ask(server, "/predict", {"quantiles": [0.1, 0.9], "interval": {"level": 0.8}, "seed": 5})
    for row in rows:
        (interval,) = row["interval"]["intervals"]
        ends = [quantile["value"] for quantile in row["quantiles"]]
        gap = max(abs(interval["lower"][0] - ends[0][0]), abs(interval["upper"][0] - ends[1][0]))
        assert gap < 0.05 * (ends[1][0] - ends[0][0]), (interval, ends)  # the same draw, or the next


def test_answers_of_a_trained_model_agree(binary):
    with tempfile.TemporaryDirectory(prefix="ebm-distributions-") as folder:
        model = train(folder)
        with serving(binary, Repository().publish("toy1", model)) as server:
            check_density(server)
            check_samples(server)
            check_weighted(server)
            check_intervals(server)
            check_integrals(server)


def test_the_mixture_answers_for_itself(binary):
    with serving(binary, Repository().golden("mixture_only")) as server:
        status, _, data = server.ask("GET", "/v2/models/mixture_only")
        about = json.loads(data)
        X, D = about["inputs"][0]["shape"][1], about["outputs"][0]["shape"][1]
        inputs, n = [[0.1] * X] * 2, 4000
        _, predicted = server.predict({"inputs": inputs})
        status, _, data = server.ask("POST", "/sample", {"inputs": inputs, "num_samples": n, "num_proposals": 9, "seed": 1})
        assert status == 200, data[:300]
        for row, expected in zip(json.loads(data)["predictions"], predicted["predictions"]):
            assert row["diagnostics"]["num_proposals_ignored"] is True, row["diagnostics"]
            for d in range(D):
                mean = moments([value[d] for value in row["samples"]])[0]
                assert abs(mean - expected["mean"][d]) < 5 * expected["std"][d] / math.sqrt(n), (mean, expected)
        status, _, data = server.ask("POST", "/density", {"inputs": inputs, "targets": [[[0.2] * D]] * 2})
        for row in json.loads(data)["predictions"]:
            assert row["log_prob"] == row["proposal_log_prob"] == row["unnormalized_log_prob"], row
            assert row["log_normalizer"] == 0 and row["log_normalizer_std_error"] == 0, row
        status, _, data = server.ask("POST", "/sample", {"inputs": inputs, "resample": False})
        assert status == 400 and b"resample: false needs" in data, data


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
