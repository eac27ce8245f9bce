#!/usr/bin/env python3
"""SIGHUP under load: keys and certificates change over and over on two loops while clients ask, connect and leave; none of
their requests is lost. serve_hangup.py SERVER"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

from harness import IO_THREADS, SLOW, Repository, request_bytes, run_all, wait_until
from serve_tls import Certificates, TlsServer, TlsWire

SECONDS, CLIENTS, ON_A_CONNECTION, PAIRS = 6, 4, 25, 3
SIGNALS, REQUESTS = 20, 100  # at least, and for so long
BODIES = [{"inputs": [[0.1, 0.2, -0.3]] * rows, "seed": 1, "estimator": "importance", "num_samples": samples}
          for rows, samples in ((1, 64), (40, 2048))]  # for a loop, for workers


class Changing:
    """Pairs of a certificate and its key, of which the server gets one after the other, and a file of keys: one that stays,
    and one that comes and goes."""

    def __init__(self, binary):
        self.certificates = Certificates()
        self.pairs = []
        for i in range(PAIRS):
            self.certificates.renew(f"pair-{i}")
            with open(self.certificates.cert, "rb") as cert, open(self.certificates.key, "rb") as key:
                self.pairs.append((cert.read(), key.read()))
        self.trusted = os.path.join(self.certificates.path, "all.pem")
        self.replace(self.trusted, b"".join(cert for cert, _ in self.pairs))
        self.keys_path = os.path.join(self.certificates.path, "keys")
        self.lasting, self.passing = (self.make_key(binary, name) for name in ("lasting", "passing"))

    @staticmethod
    def make_key(binary, name):
        made = subprocess.run([binary, "--make-key", "infer", name], capture_output=True, text=True, check=True, timeout=20)
        return re.search(r"ebm_\S+", made.stderr).group(), made.stdout

    @staticmethod
    def replace(path, data):
        with open(path + ".new", "wb") as file:
            file.write(data)
        os.rename(path + ".new", path)

    def turn(self, i):
        cert, key = self.pairs[i % PAIRS]
        self.replace(self.certificates.cert, cert)
        self.replace(self.certificates.key, key)
        self.replace(self.keys_path, (self.lasting[1] + (self.passing[1] if i % 2 else "")).encode())


def ask(wire, key, body):
    assert wire.send(request_bytes(json.dumps(body).encode(), f"X-API-Key: {key}"))
    return wire.answer()


class Clients:
    def __init__(self, server, key):
        self.server, self.key, self.n_asked, self.failures = server, key, 0, []
        self.lock, self.over = threading.Lock(), threading.Event()
        with TlsWire(server) as wire:
            self.expected = [ask(wire, key, body)[2] for body in BODIES]
        assert all(b"predictions" in answer for answer in self.expected), self.expected
        self.threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.over.is_set():
            try:
                with TlsWire(self.server) as wire:
                    for i in range(ON_A_CONNECTION):
                        answer = ask(wire, self.key, BODIES[i % 2])
                        assert answer and answer[0] == 200 and answer[2] == self.expected[i % 2], answer
                        with self.lock:
                            self.n_asked += 1
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(repr(error))

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60 * SLOW)
            assert not thread.is_alive(), "a client hangs"
        assert not self.failures, (len(self.failures), self.failures[:3])


def count(server, text):
    return sum(text in line for line in list(server.lines))


def hang_up(server):
    before = [count(server, text) for text in ("keys read again", "certificate read again")]
    server.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: count(server, "certificate read again") > before[1]), server.lines[-5:]
    assert count(server, "keys read again") > before[0]


def test_nobody_loses_a_request(binary):
    changing, repository = Changing(binary), Repository().golden("relu_1d")
    changing.turn(0)
    loops = IO_THREADS or ["--io-threads", 2]
    server = TlsServer(binary, repository, changing.certificates, "--api-keys", changing.keys_path, "--log-format", "json", *loops)
    try:
        server.context.load_verify_locations(changing.trusted)
        clients, n, end = Clients(server, changing.lasting[0]), 0, time.monotonic() + SECONDS
        while time.monotonic() < end or n < SIGNALS // SLOW or clients.n_asked < REQUESTS // SLOW:
            n += 1
            changing.turn(n)
            hang_up(server)
            for _ in range(4):  # on both loops, most likely
                with TlsWire(server) as wire:
                    assert wire.name() == f"pair-{n % PAIRS}", (wire.name(), n)
                    assert ask(wire, changing.passing[0], BODIES[0])[0] == (200 if n % 2 else 401), n
        clients.stop()
        assert server.stop() == 0, server.lines[-5:]
        assert count(server, "not read again") == 0
        print(f"      {clients.n_asked} requests, {n} times SIGHUP")
    finally:
        server.kill()
        repository.remove()
        changing.certificates.remove()


if __name__ == "__main__":
    if not shutil.which("openssl"):
        sys.exit(77)  # skipped
    sys.exit(run_all(globals(), sys.argv[1]))
