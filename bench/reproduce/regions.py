"""The 90 % sets of highest density that ebm-server answers about pictures whose target is an angle: of how many intervals
each is, and whether it holds the true angle. For reproduce.py; Python 3 alone.

A digit of the test rows counts as ambiguous when a kernel density of the digits of the other rows gives it at least a tenth as it
stands and at least a tenth turned half around: a 90 % set may then leave neither out. No model has a part in that. The kernel is a
Gaussian of the 8 x 8 numbers, with the standard deviation by which the density tells best which way up digits are: leaving each
out in turn, it says 3.6 % for the wrong way on average and prefers that in 3.1 % of the cases."""
import ast
import base64
import collections
import csv
import json
import math
import os
import re
import shutil
import subprocess
import struct
import tempfile
import time
import urllib.request

ROWS_A_REQUEST = 50
KERNEL_STD = 5.0  # of numbers from 0 to 16
LEAST_SHARE = 0.1


def start(server, repository):
    """-> the process, its URL"""
    log = os.path.join(repository, "log")
    with open(log, "w") as words:
        process = subprocess.Popen([server, "--model-repository", os.path.join(repository, "models"), "--port", "0"],
                                   stdout=subprocess.DEVNULL, stderr=words)
    while process.poll() is None:
        with open(log) as words:
            found = re.search(r"listening and ready: .*\bport=(\d+)", words.read())
        if found:
            return process, f"http://127.0.0.1:{found[1]}"
        time.sleep(0.05)
    raise RuntimeError(f"{server} does not start")


def ask(url, files):
    """-> for each file its intervals: (lower, upper), from lower upwards, maybe over the seam"""
    inputs = []
    for path in files:
        with open(path, "rb") as file:
            inputs.append({"b64": base64.b64encode(file.read()).decode()})
    body = {"model": "digits", "inputs": inputs, "outputs": ["interval"], "seed": 0,
            "interval": {"kind": "highest_density", "level": 0.9}}
    request = urllib.request.Request(url + "/predict", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        rows = json.load(answer)["predictions"]
    return [[(each["lower"][0], each["upper"][0]) for each in row["interval"]["intervals"]] for row in rows]


def holds(intervals, angle):
    return any(low <= angle <= high if low <= high else angle >= low or angle <= high for low, high in intervals)


def read_digits(path):
    """A .npy of bytes (n, 8, 8) -> n lists of 64."""
    with open(path, "rb") as file:
        version = file.read(8)[6]
        length, = struct.unpack("<H" if version == 1 else "<I", file.read(2 if version == 1 else 4))
        n = ast.literal_eval(file.read(length).decode())["shape"][0]
        return [list(file.read(64)) for _ in range(n)]


def distances(digit, others):
    return [sum((a - b) ** 2 for a, b in zip(digit, other)) for other in others]


def log_density(squares):
    """But for a constant."""
    least = min(squares)
    return -least / (2 * KERNEL_STD ** 2) + math.log(sum(math.exp((least - d) / (2 * KERNEL_STD ** 2)) for d in squares))


def groups_of(digits, tested):
    """Of the tested numbers of images -> `ambiguous` or `others`; and `nearer turned` those that are nearer to an upright digit
    when they are turned half around, ambiguous or not."""
    others, found = [digit for i, digit in enumerate(digits) if i not in tested], {}
    for i in tested:
        upright, turned = distances(digits[i], others), distances(digits[i][::-1], others)
        odds = math.exp(min(700, abs(log_density(upright) - log_density(turned))))
        found[i] = ["ambiguous" if 1 / (1 + odds) >= LEAST_SHARE else "others"]
        found[i] += ["nearer turned"] if min(turned) < min(upright) else []
    return found


def all_sets(server, model, files):
    with tempfile.TemporaryDirectory() as repository:
        version = os.path.join(repository, "models", "digits", "1")
        os.makedirs(version)
        shutil.copy(model, os.path.join(version, "model.safetensors"))
        process, url = start(server, repository)
        try:
            return [each for i in range(0, len(files), ROWS_A_REQUEST) for each in ask(url, files[i:i + ROWS_A_REQUEST])]
        finally:
            process.terminate()
            process.wait()


def by_digit(server, model, folder, numbers, digits):
    """Of the rows `numbers` of a folder of `generate digits-angle`: digit, group -> rows, those whose set is of several intervals,
    those whose set holds the angle, those of a single interval that holds it. digits: the file that the pictures were made of."""
    with open(os.path.join(folder, "labels.csv")) as file:
        labels = list(csv.DictReader(file))
    rows = [labels[i] for i in numbers]
    groups = groups_of(read_digits(digits), {int(row["image"]) for row in rows})
    found = collections.defaultdict(lambda: {"rows": 0, "several": 0, "inside": 0, "one_inside": 0})
    for row, intervals in zip(rows, all_sets(server, model, [os.path.join(folder, row["file"]) for row in rows])):
        inside, several = holds(intervals, float(row["angle"])), len(intervals) > 1
        for name in [row["digit"]] + groups[int(row["image"])]:
            found[name]["rows"] += 1
            found[name]["several"] += several
            found[name]["inside"] += inside
            found[name]["one_inside"] += inside and not several
    return dict(sorted(found.items()))
