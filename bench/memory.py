#!/usr/bin/env python3
"""Resident memory of the server over many requests: memory.py MODEL.safetensors [REQUESTS]

Starts build/server/ebm-server with that one model on a free port of 127.0.0.1, sends requests with wrk (Debian) until
10,000 and then until REQUESTS (500,000) are answered, and prints the resident memory at start, then and at the end."""
import json
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
from harness import Repository, serving  # noqa: E402  (the tests' own way to start a server)


def wrk(port, script, seconds):
    out = subprocess.run(["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}"],
                         capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in out, out
    return int(re.search(r"(\d+) requests in", out).group(1))


def main():
    model, wanted = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 500000
    with open(model, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        config = json.loads(json.loads(file.read(length))["__metadata__"]["config"])
    row = [0.37] * config["input"]["shape"][0]
    body = json.dumps({"inputs": [row], "num_samples": 128, "outputs": ["mean", "std", "quantiles"]})
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script, \
            serving(os.path.join(TOP, "build/server/ebm-server"), Repository().publish("m", model), "--log-level",
                    "warning") as server:
        script.write(f"wrk.method='POST' wrk.path='/predict' wrk.headers['Content-Type']='application/json' "
                     f"wrk.body=[[{body}]]")
        script.flush()
        print(f"at start: {server.rss_kib()} KiB")
        done, early = 0, None
        while done < wanted:
            done += wrk(server.port, script.name, 1 if done < 10000 else 10)
            if early is None and done >= 10000:
                early = server.rss_kib()
                print(f"after {done} requests: {early} KiB")
        late = server.rss_kib()
        print(f"after {done} requests: {late} KiB, {late - early:+d} KiB")


main()
