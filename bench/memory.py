#!/usr/bin/env python3
"""Resident memory of the server over many requests: memory.py MODEL.safetensors [REQUESTS]

Starts build/server/ebm-server with that one model on a free port of 127.0.0.1, sends requests with wrk (Debian) until
10,000 and then until REQUESTS (500,000) are answered, and prints the resident memory at start, then and at the end."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "server", "ebm-server")


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def wrk(port, script, seconds):
    out = subprocess.run(["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}"],
                         capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in out and "Socket errors" not in out, out
    return int(re.search(r"(\d+) requests in", out).group(1))


def wait_ready(port):
    for _ in range(100):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status
        except OSError:
            time.sleep(0.05)
    sys.exit("the server did not start")


def measure(pid, port, script, wanted):
    print(f"at start: {rss_kib(pid)} KiB")
    done, early = 0, None
    while done < wanted:
        done += wrk(port, script, 1 if done < 10000 else 10)
        if early is None and done >= 10000:
            early = rss_kib(pid)
            print(f"after {done} requests: {early} KiB")
    late = rss_kib(pid)
    print(f"after {done} requests: {late} KiB, {late - early:+d} KiB")


def main():
    model, wanted = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 500000
    with open(model, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    row = [0.37] * json.loads(header["__metadata__"]["config"])["input"]["shape"][0]
    body = json.dumps({"inputs": [row], "num_samples": 128, "outputs": ["mean", "std", "quantiles"]})
    work = tempfile.mkdtemp()
    os.makedirs(f"{work}/models/m/1")
    shutil.copy(model, f"{work}/models/m/1/model.safetensors")
    with open(f"{work}/load.lua", "w", encoding="ascii") as script:
        script.write("wrk.method='POST' wrk.path='/predict' wrk.headers['Content-Type']='application/json' "
                     f"wrk.body='{body}'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([SERVER, "--model-repository", f"{work}/models", "--port", str(port), "--log-level", "warning"])
    try:
        wait_ready(port)
        measure(server.pid, port, script.name, wanted)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(work)


main()
