#!/usr/bin/env python3
"""Holds ebm-server.service to its word: systemd accepts it, its exposure is at most MOST_EXPOSED, and a server that is
started, asked and stopped under strace makes no call that the unit forbids, nor memory that is writable and executable.
check-unit.py BUILD. Needs systemd and strace, no running systemd."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "tests", "golden", "relu_1d", "model.safetensors")
REQUESTS = (("predict", b'{"inputs": [[0.1, 0.2, 0.3]], "seed": 1}'), ("sample", b'{"inputs": [[0.1, 0.2, 0.3]]}'), ("openapi.json", None),
            ("metrics", None))
MOST_EXPOSED = 1.5  # of 10
FINDINGS = []


def say(ok, what):
    print(("ok    " if ok else "FAIL  ") + what)
    if not ok:
        FINDINGS.append(what)


def tell(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def calls_of(name):
    """The system calls of a filter word: a group of groups, or one call."""
    if not name.startswith("@"):
        return {name}
    words = [line.strip() for line in tell("systemd-analyze", "syscall-filter", name)[1].split("\n")[1:]]
    return set().union(*(calls_of(word) for word in words if word and not word.startswith("#")))


def allowed_calls(unit):
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
        calls = set().union(*map(calls_of, line.lstrip("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def check_unit(unit_path):
    status, text = tell("systemd-analyze", "verify", "--man=no", unit_path)
    say(status == 0 and "ebm-server" not in text, f"systemd-analyze verify {text.strip()}")
    status, text = tell("systemd-analyze", "security", "--offline=true", unit_path)
    exposed = re.search(r"exposure level for \S+: ([\d.]+)", text)
    say(exposed and float(exposed[1]) <= MOST_EXPOSED, f"exposure {exposed[1] if exposed else text} of 10, at most {MOST_EXPOSED}")


def ask(log_path):
    """Asks the server that writes this log, and returns its process id."""
    for _ in range(600):
        time.sleep(0.05)
        with open(log_path, encoding="utf-8") as log:
            port = re.search(r"listening.*\bport=(\d+)", log.read())
        if port:
            break
    else:
        sys.exit("the server did not start: " + open(log_path, encoding="utf-8").read())
    for path, body in REQUESTS:
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/{path}", body, timeout=20) as answer:
            answer.read()


def trace(server, folder):
    os.makedirs(os.path.join(folder, "models/m/1"))
    shutil.copy(MODEL, os.path.join(folder, "models/m/1"))
    trace_path, log_path = os.path.join(folder, "trace"), os.path.join(folder, "log")
    with open(log_path, "w", encoding="utf-8") as log:
        strace = subprocess.Popen(["strace", "-f", "-o", trace_path, server, "--model-repository", os.path.join(folder, "models"),
                                   "--port", "0", "--seccomp", "on"], stderr=log)
    try:
        ask(log_path)
    finally:
        with open(trace_path, encoding="utf-8") as file:
            os.kill(int(file.readline().split()[0]), signal.SIGTERM)  # the server: strace keeps signals from it
        say(strace.wait(20) == 0, "started, asked and stopped under strace")
    with open(trace_path, encoding="utf-8") as file:
        return file.read()


def check_calls(text, allowed):
    made = set(re.findall(r"^\d+ +(\w+)\(", text, re.M))
    # mbind only says where memory of several processors' machines should lie; OpenBLAS goes on without it. capset gives
    # up capabilities, of which the unit leaves none.
    forbidden = made - allowed - {"execve", "mbind", "capset"}
    say(made and not forbidden, f"{len(made)} system calls, all allowed {' '.join(sorted(forbidden))}")
    both = [line for line in text.split("\n") if "PROT_EXEC" in line and ("PROT_WRITE" in line or " mprotect(" in line)]
    say(not both, f"no memory is writable and executable {both[:3] if both else ''}")


def main():
    with tempfile.TemporaryDirectory(prefix="ebm-unit-") as folder:
        root = os.path.join(folder, "root")
        subprocess.run(["meson", "install", "--quiet", "-C", sys.argv[1], "--destdir", root], check=True, stdout=subprocess.DEVNULL)
        with open(tell("find", root, "-name", "ebm-server.service")[1].strip(), encoding="utf-8") as file:
            unit = file.read()
        server = root + re.search(r"^ExecStart=(\S+)", unit, re.M)[1]
        unit_path = os.path.join(folder, "ebm-server.service")
        with open(unit_path, "w", encoding="utf-8") as file:
            file.write(re.sub(r"^ExecStart=\S+", "ExecStart=" + server, unit, flags=re.M))
        check_unit(unit_path)
        check_calls(trace(server, folder), allowed_calls(unit))
    sys.exit(1 if FINDINGS else 0)


main()
