"""harness.py - starts a server on a free port of 127.0.0.1, asks it, stops it. Python's standard library alone."""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
LOOPS = int(os.environ.get("EBM_TEST_IO_THREADS", "1"))
IO_THREADS = ["--io-threads", str(LOOPS)] if LOOPS > 1 else []
SLOW = 6 if os.environ.get("ASAN_OPTIONS") or os.environ.get("TSAN_OPTIONS") else 1  # sanitizers take their time


class Repository:
    """A temporary model repository; publish() copies a model file into it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="ebm-e2e-")

    def publish(self, name, model, version=1):
        folder = os.path.join(self.path, name, str(version))
        os.makedirs(folder)
        shutil.copy(model, os.path.join(folder, "model.safetensors"))
        return self

    def golden(self, case, name=None, version=1):
        return self.publish(name or case, os.path.join(GOLDEN, case, "model.safetensors"), version)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Server:
    def __init__(self, binary, repository, *options, expect_start=True):
        command = [binary, "--model-repository", repository.path, "--port", "0", *IO_THREADS, *map(str, options)]
        self.lines, self.port = [], None
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace")
        self.started = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if expect_start and not self._starts():
            self.kill()
            raise AssertionError("the server did not start:\n" + "\n".join(self.lines))

    def _starts(self):
        end = time.monotonic() + 60 * SLOW
        while not self.started.wait(0.2):
            if self.process.poll() is not None or time.monotonic() > end:
                return False
        return True

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            match = re.search(r"listening.*\bport=(\d+)", line)
            if match:
                self.port = int(match.group(1))
                self.started.set()

    def connect(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * SLOW)

    def ask(self, method, path, body=None, headers=None, connection=None):
        """-> (status, headers, bytes of the body)"""
        own = connection or self.connect()
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        own.request(method, path, body, headers or ({"Content-Type": "application/json"} if body is not None else {}))
        response = own.getresponse()
        data = response.read()
        if connection is None:
            own.close()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, data

    def predict(self, body, connection=None):
        status, _, data = self.ask("POST", "/predict", body, connection=connection)
        return status, json.loads(data)

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def stop(self, number=signal.SIGTERM, timeout=60):
        """-> exit status"""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended(timeout)

    def ended(self, timeout=60):
        """Waits for its end. -> exit status"""
        try:
            status = self.process.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server did not stop:\n" + "\n".join(self.lines[-20:])) from None
        self.reader.join(timeout)
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


# ---- raw connections ----


def request_bytes(body, *headers, length=None, first="POST /predict HTTP/1.1", host="x"):
    """A request as bytes. length: what Content-Length says, False for no such line; host: None for no such line."""
    lines = [first] + ([f"Host: {host}"] if host is not None else []) + list(headers)
    if length is not False:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def raw(server, data, timeout=60):
    """Sends bytes, returns what came until the server closed, as it has to."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout * SLOW) as link:
        try:
            link.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it answered and closed before all was sent
        got = b""
        try:
            while chunk := link.recv(65536):
                got += chunk
        except ConnectionResetError:
            pass
        return got


class Wire:
    """One connection: any bytes out, whole answers in."""

    def __init__(self, server, timeout=60):
        self.link = socket.create_connection(("127.0.0.1", server.port), timeout=timeout * SLOW)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()

    def send(self, data, pieces_of=None):
        """False when the server closed before all was sent: it may have answered all the same."""
        try:
            for at in range(0, len(data), pieces_of or len(data) or 1):
                self.link.sendall(data[at:at + pieces_of] if pieces_of else data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def end_sending(self):
        try:
            self.link.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is closed already

    def _more(self):
        try:
            chunk = self.link.recv(1 << 18)
        except ConnectionResetError:
            return False
        self.unread += chunk
        return bool(chunk)

    def answer(self, without_body=False):
        """-> (status, headers, body); None when the server closed before the first byte."""
        while b"\r\n\r\n" not in self.unread:
            if not self._more():
                assert not self.unread, f"closed in the middle of {self.unread[:200]}"
                return None
        head, rest = self.unread.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        size = 0 if without_body else int(headers.get("content-length", 0))
        pieces = [rest]
        missing = size - len(rest)
        while missing > 0:
            self.unread = b""
            assert self._more(), f"closed {missing} bytes before the end of a body"
            pieces.append(self.unread)
            missing -= len(self.unread)
        rest = b"".join(pieces)
        self.unread = rest[size:]
        return int(first.split()[1]), headers, rest[:size]

    def is_silent(self, seconds):
        """Nothing comes for a while, and the connection stays open."""
        self.link.settimeout(seconds)
        try:
            self._more()
            return False
        except socket.timeout:
            return not self.unread
        finally:
            self.link.settimeout(60 * SLOW)

    def is_closed(self):
        """Waits for the end of the connection; what came before it does not matter."""
        while self._more():
            pass
        return True


def expect_error(result, status, code, *fragments):
    got, headers, body = result
    assert got == status, f"{got} instead of {status}: {body[:300]}"
    answer = json.loads(body)
    more = {"retry_after_ms"} if code == "queue_full" else set()
    assert set(answer) == {"error", "code", "request_id"} | more and answer["code"] == code, answer
    assert headers["x-request-id"] == answer["request_id"], (headers, answer)
    for fragment in fragments:
        assert fragment in answer["error"], f"no '{fragment}' in {answer['error']}"
    return headers


@contextlib.contextmanager
def serving(binary, repository, *options):
    server = Server(binary, repository, *options)
    try:
        yield server
        status = server.stop()
        assert status == 0, f"exit status {status}:\n" + "\n".join(server.lines[-20:])
    finally:
        server.kill()
        repository.remove()


# ---- a worker that is busy for as long as a test wants ----

ROW = [0.1, 0.2, 0.3]  # of relu_1d
# A day, so that no estimate of a slow machine refuses what is to wait.
LONG_WORK = ["--max-steps", "10000", "--max-request-numbers", str(1 << 40), "--timeout-ms", "86400000"]
HOLDABLE = ["--workers", "1", *LONG_WORK]
# For smooth_2d: 65536 chains of 10000 steps a row, minutes of work; a client that leaves ends them between two steps.
HOLD = {"inputs": [[0.1, 0.2]] * 2, "estimator": "importance", "num_proposals": 8, "num_samples": 65536, "refine": {"steps": 10000}, "seed": 1}


def hold_request(model, *headers, **fields):
    return request_bytes(json.dumps({"model": model, **HOLD, **fields}).encode(), *headers, first="POST /sample HTTP/1.1")


def queue_rows(server):
    return json.loads(server.ask("GET", "/stats")[2])["queue_rows"]


class Hold:
    """Keeps the only worker of a server that runs with HOLDABLE, until release or the end of a with block: of two rows, of
    minutes each, one is being computed and one waits, so that queue_rows is 1. On a model of its own, smooth_2d, it has
    no part in what others' rows are expected to wait."""

    def __init__(self, server, wire=None):
        self.wire = wire or Wire(server)
        self.wire.send(hold_request("smooth_2d"))
        assert wait_until(lambda: queue_rows(server) == 1), "the worker did not begin"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def release(self):
        self.wire.link.close()


def listening_port(pid):
    """Where a process listens, None as long as it does not."""
    own = set()
    for file in os.listdir(f"/proc/{pid}/fd"):
        try:
            own.add(os.readlink(f"/proc/{pid}/fd/{file}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as file:
        sockets = [line.split() for line in file.readlines()[1:]]
    ports = [int(words[1].split(":")[1], 16) for words in sockets if words[3] == "0A" and f"socket:[{words[9]}]" in own]
    return ports[0] if ports else None


def wait_until(condition, seconds=60):
    """For what must come, however busy the machine is."""
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def run_all(namespace, binary):
    """Calls every test_ function with the server's path; one line each; returns the exit status."""
    failed = 0
    for name, test in list(namespace.items()):
        if not name.startswith("test_") or not callable(test):
            continue
        start = time.monotonic()
        try:
            test(binary)
            print(f"ok    {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0
