"""load.py - processes that are measured: started in a session of their own, loaded by wrk, ended by their number; and
how much of the machine others took meanwhile. Linux; Python's standard library alone."""
import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
NOISE = 0.1  # cores of others, from which on a measurement does not count


def machine_cpu():
    """Seconds that all cores worked, waiting for disks and other guests apart."""
    with open("/proc/stat", encoding="ascii") as file:
        numbers = [int(n) for n in file.readline().split()[1:]]
    return (sum(numbers[:3]) + numbers[5] + numbers[6]) / TICKS


def own_cpu():
    """Seconds of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def session_cpu(session):
    """Seconds of all processes of a session; of those that have ended, where their parent is one of it."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rsplit(")", 1)[1].split()
                if int(fields[3]) == session:
                    total += sum(map(int, fields[11:15]))
    return total / TICKS


def wait_for_quiet(seconds):
    """Until the others rest, or so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = machine_cpu()
        time.sleep(0.3)
        if machine_cpu() - before < 0.3 * NOISE:
            return


class Others:
    """What others used between its making and foreign(): whose CPU is not in `mine`, seconds that it is called for."""

    def __init__(self, mine):
        self.mine, self.start = mine, time.monotonic()
        self.before = machine_cpu() - mine()

    def foreign(self):
        """-> cores"""
        return max(0.0, (machine_cpu() - self.mine() - self.before) / (time.monotonic() - self.start))


def run_alone(command, env=None, timeout=600):
    """A program that is measured as a whole -> (its stdout, {"foreign", "wall_s"})"""
    others, begin = Others(own_cpu), time.monotonic()
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran.stdout, {"wall_s": time.monotonic() - begin, "foreign": others.foreign()}


def quietest(measure, tries, is_late):
    """The sample of the quietest of a few tries, the first that is clean; no more of them when it is late."""
    best = None
    for _ in range(tries):
        sample = measure()
        if best is None or ("void" in best, best["foreign"]) > ("void" in sample, sample["foreign"]):
            best = sample
        if best["foreign"] <= NOISE and "void" not in best or is_late():
            break
        wait_for_quiet(4)
    return best


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Service:
    """A server; `command` has {port} where its port belongs."""

    def __init__(self, command, env=None):
        self.port = free_port()
        self.begin = time.monotonic()
        self.process = subprocess.Popen([word.replace("{port}", str(self.port)) for word in command], env=env,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)

    def ask(self, method, route, body=None, headers=None):
        """-> (status, body)"""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, route, body, headers or ({"Content-Type": "application/json"} if body else {}))
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()

    def wait(self, method, route, body=None, seconds=90, pause=0.05, headers=None):
        """Until it answers with 200 -> seconds since its start"""
        why, end = "no answer", time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, text = self.ask(method, route, body, headers)
                if status == 200:
                    return time.monotonic() - self.begin
                why = f"{status} {text[:200]}"
            time.sleep(pause)
        raise RuntimeError(f"{self.process.args}: not ready: {why}")

    def wait_until_idle(self, seconds=10):
        """More of its processes may still be starting."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = self.cpu()
            time.sleep(0.3)
            if self.cpu() - before < 0.02:
                return

    def cpu(self):
        return session_cpu(self.process.pid)

    def resident_mib(self, what="VmRSS"):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(what + r":\s+(\d+)", file.read()).group(1)) / 1024

    def load(self, route, body_file, connections, seconds, more=None):
        """wrk, with `more` in the environment of post.lua -> {"rps", "p50_ms", ..., "server_us", "foreign"}, or
        {"void": why}"""
        others, before = Others(lambda: self.cpu() + own_cpu()), self.cpu()
        command = ["wrk", "-t", str(min(2, connections)), "-c", str(connections), "-d", f"{seconds}s",
                   "--timeout", "20s", "-s", os.path.join(HERE, "post.lua"), f"http://127.0.0.1:{self.port}"]
        ran = subprocess.run(command, env=dict(os.environ, BODY=body_file, ROUTE=route, **more or {}),
                             capture_output=True, text=True, timeout=seconds + 60, check=False)
        foreign, spent = others.foreign(), self.cpu() - before
        result = re.search(r"RESULT (\{.*\})", ran.stdout)
        measured = json.loads(result.group(1)) if result else {"requests": 0}
        if not measured["requests"] or measured["bad"]:
            return {"void": f"{measured} {ran.stderr.strip()}", "foreign": foreign}
        return measured | {"server_us": 1e6 * spent / measured["requests"], "foreign": foreign}
