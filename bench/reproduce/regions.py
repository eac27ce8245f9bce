"""The 90 % sets of highest density that ebm-server answers about pictures whose target is an angle: of how many intervals
each is, and whether it holds the true angle. For reproduce.py; Python 3 alone."""
import base64
import collections
import csv
import json
import os
import re
import shutil
import subprocess
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


def by_digit(server, model, folder, numbers):
    """Of the rows `numbers` of a folder of `generate digits-angle`: digit -> rows, those with several intervals, those whose
    set holds the angle."""
    with open(os.path.join(folder, "labels.csv")) as file:
        labels = list(csv.DictReader(file))
    rows = [labels[i] for i in numbers]
    found = collections.defaultdict(lambda: {"rows": 0, "several": 0, "inside": 0})
    with tempfile.TemporaryDirectory() as repository:
        version = os.path.join(repository, "models", "digits", "1")
        os.makedirs(version)
        shutil.copy(model, os.path.join(version, "model.safetensors"))
        process, url = start(server, repository)
        try:
            for first in range(0, len(rows), ROWS_A_REQUEST):
                part = rows[first:first + ROWS_A_REQUEST]
                sets = ask(url, [os.path.join(folder, row["file"]) for row in part])
                for row, intervals in zip(part, sets):
                    count = found[row["digit"]]
                    count["rows"] += 1
                    count["several"] += len(intervals) > 1
                    count["inside"] += holds(intervals, float(row["angle"]))
        finally:
            process.terminate()
            process.wait()
    return dict(sorted(found.items()))
