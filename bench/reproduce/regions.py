"""The 90 % sets of highest density that ebm-server answers about pictures whose target is an angle: of how many intervals
each is, and whether it holds the true angle. For reproduce.py; Python 3 alone.

A digit of the test rows counts as ambiguous when, turned half around, it lies nearer to an upright digit of the other rows
than as it stands (by squares of the differences of its 8 x 8 numbers): no model has a part in that."""
import ast
import base64
import collections
import csv
import json
import os
import re
import shutil
import subprocess
import struct
import tempfile
import time
import urllib.request

ROWS_A_REQUEST = 50


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


def distance(digit, others):
    return min(sum((a - b) ** 2 for a, b in zip(digit, other)) for other in others)


def ambiguous(digits, tested):
    """Those of the tested numbers of images that look as upright when they are turned half around."""
    others = [digit for i, digit in enumerate(digits) if i not in tested]
    return {i for i in tested if distance(digits[i][::-1], others) < distance(digits[i], others)}


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
    """Of the rows `numbers` of a folder of `generate digits-angle`: digit, `ambiguous` or `others` -> rows, those whose set is
    of several intervals, those whose set holds the angle. digits: the file that the pictures were made of."""
    with open(os.path.join(folder, "labels.csv")) as file:
        labels = list(csv.DictReader(file))
    rows = [labels[i] for i in numbers]
    doubtful = ambiguous(read_digits(digits), {int(row["image"]) for row in rows})
    found = collections.defaultdict(lambda: {"rows": 0, "several": 0, "inside": 0})
    for row, intervals in zip(rows, all_sets(server, model, [os.path.join(folder, row["file"]) for row in rows])):
        for name in (row["digit"], "ambiguous" if int(row["image"]) in doubtful else "others"):
            found[name]["rows"] += 1
            found[name]["several"] += len(intervals) > 1
            found[name]["inside"] += holds(intervals, float(row["angle"]))
    return dict(sorted(found.items()))
