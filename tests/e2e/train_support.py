#!/usr/bin/env python3
"""Targets with bounds or a period, the whole way: a share in [0, 1] with mass at both ends, and an angle around its seam.
Trained by nce_kl and by mdn_nll the test NLL comes near the truth's; served, the density is 0 outside, angles mean the
same after a turn, and samples stay inside. Rows that a model cannot have are refused.
train_support.py SERVER TRAINER"""
import array
import csv
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile

from arrays import tensors_of
from harness import GOLDEN, SLOW, Repository, run_all, serving

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import networks  # noqa: E402

TRAINER = os.path.abspath(sys.argv[2])
WORK = tempfile.mkdtemp(prefix="ebm-support-")
ROWS, EPOCHS = (1500, 30) if SLOW == 1 else (400, 4)


def linear(n_out=None, activation="identity"):
    return {"type": "linear", "activation": activation, **({"out": n_out} if n_out else {})}


def edge_rate(x):
    return 10 + 5 * x


def draw_share(x, rng):
    """At the lower end, at the upper end, or anywhere."""
    where, rate = rng.random(), edge_rate(x)
    if where > 0.8:
        return rng.random()
    off = -math.log1p(-rng.random() * -math.expm1(-rate)) / rate
    return off if where < 0.4 + 0.2 * x else 1 - off


def share_density(x, y):
    rate = edge_rate(x)
    low, high = (rate * math.exp(-rate * v) / -math.expm1(-rate) for v in (y, 1 - y))
    return 0.2 + (0.4 + 0.2 * x) * low + (0.4 - 0.2 * x) * high


def draw_angle(x, rng):
    return (170 + 30 * x + 20 * rng.gauss(0, 1) + 180) % 360 - 180


def angle_density(x, y):
    return sum(math.exp(-0.5 * ((y - 170 - 30 * x + 360 * j) / 20) ** 2) for j in range(-2, 3)) / (20 * math.sqrt(2 * math.pi))


SETS = {"share": ("bounded", 0, 1, draw_share, share_density), "angle": ("periodic", -180, 180, draw_angle, angle_density)}


def path(name):
    return os.path.join(WORK, name)


def run(*words, expect=0):
    done = subprocess.run([TRAINER, *words], capture_output=True, text=True, cwd=WORK, timeout=600, check=False)
    assert done.returncode == expect, f"{words[:2]}: {done.returncode}: {done.stdout[-300:]} {done.stderr[-500:]}"
    return done


def write_rows(name, rows):
    with open(path(name), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y"])
        writer.writerows(rows)


def make(name, n, seed):
    rng = random.Random(seed)
    xs = [rng.uniform(-1, 1) for _ in range(n)]
    return [(x, SETS[name][3](x, rng)) for x in xs]


def write_config(name, method, file, data):
    kind, lower, upper = SETS[name][:3]
    hidden = linear(24, "silu")
    model = {"target": {"support": [kind], "lower": [lower], "upper": [upper]},
             "feature_net": [hidden], "proposal": {
                 "kind": "gaussian_mixture", "components": 4, "mean_net": [linear(16, "silu"), linear()],
                 "log_variance_net": [linear(16, "silu"), linear()], "weight_net": [linear(16, "silu"), linear()]}}
    if method == "nce_kl":
        model.update(target_net=[hidden], energy_net=[linear(24, "silu"), linear()])
    config = {"data": {"file": data, "targets": ["y"], "validation": 0.1}, "model": model,
              "training": {"method": method, "epochs": EPOCHS, "batch_size": 32, "samples": 128, "learning_rate": 1e-2,
                           "schedule": {"kind": "cosine"}, "seed": 1}}
    with open(path(file), "w", encoding="utf-8") as out:
        json.dump(config, out)


def trained(name, method):
    """The model's file; trained once."""
    folder = path(f"{name}-{method}")
    model = os.path.join(folder, "model.safetensors")
    if not os.path.exists(model):
        write_rows(f"{name}.csv", make(name, ROWS, 1))
        write_config(name, method, f"{name}-{method}.json", f"{name}.csv")
        run("train", "--config", path(f"{name}-{method}.json"), "--output", folder)
    return model


def compare(name, method, slack):
    rows = make(name, 1000, 2)
    write_rows(f"{name}-test.csv", rows)
    run("evaluate", "--model", trained(name, method), "--data", path(f"{name}-test.csv"), "--output", path("figures.json"))
    with open(path("figures.json"), encoding="utf-8") as file:
        got = json.load(file)["nll"]
    truth = -sum(math.log(SETS[name][4](x, y)) for x, y in rows) / len(rows)
    print(f"      {name}, {method}: test NLL {got:.4f}, the truth's {truth:.4f}")
    if SLOW == 1:
        assert truth - 0.05 < got < truth + slack, (got, truth)


def test_bounded_by_nce_kl(_):
    compare("share", "nce_kl", 0.05)


def test_bounded_by_mdn_nll(_):
    compare("share", "mdn_nll", 0.05)


def test_periodic_by_nce_kl(_):
    compare("angle", "nce_kl", 0.05)


def test_periodic_by_mdn_nll(_):
    compare("angle", "mdn_nll", 0.05)


def test_a_turn_more_trains_the_same_model(_):
    rows = make("angle", 200, 3)
    for i, turns in enumerate((0, 1)):
        write_rows(f"turn{i}.csv", [(x, y + turns * 360 * (row % 3 - 1)) for row, (x, y) in enumerate(rows)])
        write_config("angle", "mdn_nll", f"turn{i}.json", f"turn{i}.csv")
        run("train", "--config", path(f"turn{i}.json"), "--output", path(f"turn{i}"), "--set", "training.epochs=3")
    nll = []
    for i in (0, 1):
        with open(path(f"turn{i}/training.jsonl"), encoding="utf-8") as file:
            nll.append(json.loads(file.readlines()[-1])["validation_nll"])
    print(f"      validation NLL {nll[0]:.9f} and {nll[1]:.9f}")
    assert abs(nll[0] - nll[1]) < 1e-4, nll


def test_rows_beyond_the_bounds_are_refused(_):
    write_rows("beyond.csv", [(0, 0.5), (0.1, 0.25), (0.2, 1.5), (0.3, 0.75)])
    write_config("share", "mdn_nll", "beyond.json", "beyond.csv")
    told = run("train", "--config", path("beyond.json"), "--output", path("beyond"), expect=1).stderr
    assert "data row 3" in told and "'y' is 1.5" in told and "0 to 1" in told, told
    told = run("evaluate", "--model", trained("share", "mdn_nll"), "--data", path("beyond.csv"), expect=1).stderr
    assert "data row 3" in told and "1.5" in told, told


def numbers_of(file):
    """name -> (shape, numbers), and the metadata"""
    with open(file, "rb") as source:
        tensors, metadata = tensors_of(source.read())
    letters = {"F32": "f", "F64": "d"}
    return {name: (shape, array.array(letters[kind], data).tolist()) for name, (kind, shape, data) in tensors.items()}, metadata


def write_model(file, model, metadata):
    networks.write_tensors(file, ((name, *entry) for name, entry in model.items()), metadata)


def test_parity_values_of_bounded_and_periodic_models(_):
    """Those of another program: the golden case's own."""
    folder = os.path.join(GOLDEN, "periodic_2d")
    model, metadata = numbers_of(os.path.join(folder, "model.safetensors"))
    expected, _ = numbers_of(os.path.join(folder, "expected.safetensors"))
    for parity, name in (("x", "x"), ("y", "y_samples"), ("f", "f_samples"), ("log_q", "log_q_samples")):
        model["parity." + parity] = expected[name]
    write_model(path("parity.safetensors"), model, metadata)
    run("inspect", path("parity.safetensors"))
    shape, numbers = model["parity.log_q"]
    model["parity.log_q"] = (shape, [numbers[0] + 0.01, *numbers[1:]])
    write_model(path("wrong.safetensors"), model, metadata)
    told = run("inspect", path("wrong.safetensors"), expect=1).stderr
    assert "parity.log_q" in told and "row 0, target 0" in told, told


def test_what_is_served_stays_inside(binary):
    repository = Repository()
    for name in SETS:
        repository.publish(name, trained(name, "nce_kl"))
    with serving(binary, repository) as server:
        def ask(where, body):
            status, _, data = server.ask("POST", where, {"inputs": [[0.3]], "seed": 1, **body})
            assert status == 200, data[:300]
            return json.loads(data)["predictions"][0]

        row = ask("/density", {"model": "share", "targets": [[[-0.001], [0], [0.5], [1], [1.001]]]})
        print("      share:", row["log_prob"], row["diagnostics"].get("targets_outside"))
        for member in ("log_prob", "unnormalized_log_prob", "proposal_log_prob"):
            assert [v is None for v in row[member]] == [True, False, False, False, True], row
        assert row["diagnostics"]["targets_outside"] == 2 and row["diagnostics"]["reason"] is None, row

        row = ask("/density", {"model": "angle", "targets": [[[-180], [180], [540], [170], [-190], [170 + 360000]]]})
        for member in ("log_prob", "proposal_log_prob"):
            values = row[member]
            assert max(abs(values[0] - v) for v in values[1:3]) < 1e-5, values
            assert max(abs(values[3] - v) for v in values[4:]) < 1e-4, values
        assert "targets_outside" not in row["diagnostics"], row

        for name, (_, lower, upper, _, _) in SETS.items():
            points = 4001
            width = (upper - lower) / (points - 1)
            row = ask("/density", {"model": name, "num_samples": 16384,
                                   "grid": {"lower": lower, "upper": upper, "points": points}})
            density = [math.exp(v) for v in row["log_prob"]]
            mass = width * (sum(density) - (density[0] + density[-1]) / 2)
            proposal = [math.exp(v) for v in row["proposal_log_prob"]]
            mass_q = width * (sum(proposal) - (proposal[0] + proposal[-1]) / 2)
            print(f"      {name}: density integrates to {mass:.5f}, proposal to {mass_q:.5f}")
            assert abs(mass - 1) < 0.03 and abs(mass_q - 1) < 2e-3, (mass, mass_q)
            for estimator in ("importance", "mixture"):
                samples = ask("/sample", {"model": name, "num_samples": 2000, "estimator": estimator})["samples"]
                assert all(lower <= y <= upper for (y,) in samples), (min(samples), max(samples))
                told = ask("/predict", {"model": name, "estimator": estimator, "outputs": ["mean", "std", "quantiles"]})
                quantiles = [q["value"][0] for q in told["quantiles"]]
                assert all(lower <= value <= upper for value in quantiles), told
                if name == "angle":  # between the place opposite the mean and its next turn
                    quantiles = [(value - told["mean"][0] + 180) % 360 for value in quantiles]
                assert quantiles == sorted(quantiles), told
                mean = direction(samples) if name == "angle" else sum(y for (y,) in samples) / len(samples)
                off = way(mean, told["mean"][0]) if name == "angle" else mean - told["mean"][0]
                assert abs(off) < 5 * told["std"][0] / math.sqrt(len(samples)) + 0.03 * told["std"][0], (mean, told)


def way(start, end):
    """By the shorter way round."""
    return (end - start + 180) % 360 - 180


def direction(samples):
    return math.degrees(math.atan2(*(sum(turn(math.radians(y)) for (y,) in samples) for turn in (math.sin, math.cos))))


def test_angles_around_the_seam_are_served_as_angles(binary):
    """At x = 0.3 the truth is 179 degrees, give or take 20: half of it lies beyond the seam."""
    repository = Repository().publish("angle", trained("angle", "nce_kl"))
    with serving(binary, repository) as server:
        for estimator in ("quadrature", "importance", "mixture"):
            status, _, data = server.ask("POST", "/predict", {
                "inputs": [[0.3]], "seed": 1, "estimator": estimator, "outputs": ["mean", "std", "median", "mode", "covariance"],
                "quantiles": [0.1, 0.9], "interval": {"kind": "highest_density", "level": 0.9}, "cdf": [0, 179], "crps_at": [179 - 360]})
            assert status == 200, data[:300]
            row = json.loads(data)["predictions"][0]
            print("      ", estimator, row["mean"], row["std"], row["interval"]["intervals"], row["cdf"], row["crps"])
            spread = row["std"][0]
            assert abs(row["covariance"][0][0] / spread**2 - 1) < 1e-5, row
            if SLOW > 1:
                continue
            ends = row["interval"]["intervals"][-1]
            assert abs(way(row["mean"][0], 179)) < 6 and abs(spread - 20) < 4, row
            assert abs(way(row["median"][0], 179)) < 6 and abs(way(row["mode"][0], 179)) < 20, row
            assert ends["lower"][0] > 90 and ends["upper"][0] < -90, row
            assert abs(way(ends["lower"][0], ends["upper"][0]) - 2 * 1.645 * 20) < 14, row
            assert row["cdf"][0] < 0.01 or row["cdf"][0] > 0.99, row
            assert abs(row["cdf"][1] - 0.5) < 0.15 and abs(row["crps"][0] - 0.2337 * 20) < 1.2, row


def test_evaluate_takes_the_shorter_way(_):
    rows = make("angle", 1000, 2)
    write_rows("angle-way.csv", [(x, y + 720) for x, y in rows])
    told = run("evaluate", "--model", trained("angle", "nce_kl"), "--data", path("angle-way.csv"), "--output", path("way.json"),
               "--report", path("way.html")).stdout
    with open(path("way.json"), encoding="utf-8") as file:
        target = json.load(file)["targets"][0]
    print("     ", told.splitlines()[3], target["verdict"], target["pit"]["ks"])
    widths = [level["mean_width"] for level in target["intervals"]]
    assert widths == sorted(widths) and widths[0] > 0, widths
    assert all(level["width_without_inputs"] <= 360 for level in target["intervals"])
    if SLOW == 1:
        assert 17 < target["rmse"] < 25 and abs(target["crps"] - 0.5642 * 20) < 2.5, target["rmse"]
        assert abs(target["intervals"][2]["coverage"] - 0.9) < 0.05 and abs(widths[2] - 2 * 1.645 * 20) < 12, target["intervals"]


try:
    status = run_all(globals(), sys.argv[1])
finally:
    shutil.rmtree(WORK)
sys.exit(status)
