#!/usr/bin/env python3
"""Targets of several numbers over HTTP: a covariance matrix in every format, quantiles and intervals a coordinate; and of one with a
period, answers that do not change when its seam or all of its support lies elsewhere.
serve_targets.py SERVER"""
import json
import os
import re
import struct
import sys

from arrays import put_together, take_apart
from harness import GOLDEN, Repository, run_all, serving
from model_files import publish_bytes

PERIOD = 6  # of target 0 of the golden case: [-3, 3); target 1 lies in [0, 2], target 2 anywhere
ROWS = [[0.1, -0.4], [0.8, 0.3], [-1.2, 1]]
OUTPUTS = ["mean", "std", "variance", "covariance", "median", "quantiles", "interval"]
WAYS = ({"estimator": "mixture"}, {"estimator": "importance", "num_samples": 4096}, {"estimator": "importance", "draws": "independent"})


def moved(repository, name, seam=0.0, shift=0.0):
    """The golden case with the seam, or the support and all that is measured from it, somewhere else."""
    with open(os.path.join(GOLDEN, "periodic_2d", "model.safetensors"), "rb") as file:
        header, data = take_apart(file.read())
    config = json.loads(header["__metadata__"]["config"])
    target = config["target"]
    target["lower"][0] += seam + shift
    target["upper"][0] += seam + shift
    target["mean"][0] += shift
    header["__metadata__"]["config"] = json.dumps(config)
    publish_bytes(repository, name, put_together(header, data))


def ask(server, model, **body):
    status, _, data = server.ask("POST", "/predict", {"model": model, "inputs": ROWS, "seed": 1, **body})
    assert status == 200, data[:300]
    return json.loads(data)["predictions"]


def flat(value):
    return [n for part in value for n in flat(part)] if isinstance(value, list) else [value]


def near(got, want, slack=1e-6):
    return len(got) == len(want) and all(abs(a - b) <= slack * max(1, abs(b)) for a, b in zip(got, want))


def test_a_covariance_is_the_same_in_every_format(binary):
    with serving(binary, Repository().golden("periodic_2d")) as server:
        for way in WAYS:
            rows = ask(server, "periodic_2d", outputs=OUTPUTS, **way)
            for row in rows:
                matrix = row["covariance"]
                assert near([matrix[d][d] for d in range(3)], row["variance"]) and near([s * s for s in row["std"]], row["variance"])
                assert all(matrix[d][e] == matrix[e][d] for d in range(3) for e in range(3)), matrix
                assert all(matrix[d][e] ** 2 <= matrix[d][d] * matrix[e][e] for d in range(3) for e in range(3)), matrix
                assert [len(q["value"]) for q in row["quantiles"]] == [3, 3, 3] and row["quantiles"][1]["value"] == row["median"]
                ends = row["interval"]["intervals"][0]
                assert ends["lower"] == row["quantiles"][0]["value"] and ends["upper"] == row["quantiles"][2]["value"], row
            want = flat([row["covariance"] for row in rows])
            head = {"inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP64", "data": flat(ROWS)}],
                    "outputs": [{"name": "covariance"}], "parameters": {"seed": 1, **way}}
            output = json.loads(server.ask("POST", "/v2/models/periodic_2d/infer", head)[2])["outputs"][0]
            assert output["shape"] == [3, 3, 3] and near(output["data"], want), output
            body = json.dumps({"inputs": ROWS, "seed": 1, "outputs": ["covariance"], **way})
            _, _, data = server.ask("POST", "/predict", body, {"Accept": "application/x-npy"})
            begin = 10 + struct.unpack("<H", data[8:10])[0]
            assert re.search(rb"'shape': \(3, 3, 3\)", data[:begin]), data[:begin]
            assert near(struct.unpack("<27d", data[begin:]), want)
            print("     ", way, [round(n, 4) for n in want[:9]])


def angles(row):
    """Of target 0: what moves with it, and what does not."""
    ends = row["interval"]["intervals"][0]
    moves = [row["mean"][0], row["median"][0], ends["lower"][0], ends["upper"][0], *(q["value"][0] for q in row["quantiles"])]
    rest = flat(row["covariance"]) + row["std"] + row["mean"][1:] + flat([q["value"][1:] for q in row["quantiles"]])
    return moves, rest


def compare(rows, others, shift, slack):
    for row, other in zip(rows, others):
        (moves, rest), (other_moves, other_rest) = angles(row), angles(other)
        assert near(rest, other_rest, slack), (rest, other_rest)
        for a, b in zip(moves, other_moves):
            assert abs((b - a - shift + 3) % PERIOD - 3) < slack, (shift, moves, other_moves)


def test_the_seam_may_lie_anywhere(binary):
    """The mixture's: a network knows nothing of a period."""
    repository, seams = Repository().golden("periodic_2d"), (0.5, 1.7, 3, 4.1, -2.2, 600)
    for i, seam in enumerate(seams):
        moved(repository, f"seam{i}", seam=seam)
    with serving(binary, repository) as server:
        rows = ask(server, "periodic_2d", outputs=OUTPUTS, estimator="mixture")
        over = 0
        for i, seam in enumerate(seams):
            others = ask(server, f"seam{i}", outputs=OUTPUTS, estimator="mixture")
            compare(rows, others, 0, 1e-4 if seam > 100 else 1e-5)
            for other in others:
                ends = other["interval"]["intervals"][0]
                assert all(seam - 3 <= n <= seam + 3 for n in angles(other)[0]), (seam, angles(other)[0])
                over += ends["lower"][0] > ends["upper"][0]
        print(f"      {over} of {len(ROWS) * len(seams)} intervals run over the seam")
        assert over > 0


def test_all_of_it_may_lie_anywhere(binary):
    repository, shifts = Repository().golden("periodic_2d"), (0.3, -7, 360, 12345.678)
    for i, shift in enumerate(shifts):
        moved(repository, f"shift{i}", shift=shift)
    with serving(binary, repository) as server:
        for way in WAYS:
            rows = ask(server, "periodic_2d", outputs=OUTPUTS, **way)
            for i, shift in enumerate(shifts):
                compare(rows, ask(server, f"shift{i}", outputs=OUTPUTS, **way), shift, 1e-5)


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
