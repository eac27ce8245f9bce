#!/usr/bin/env python3
"""HTTPS: what the server does over plain sockets it does encrypted, and certificates change while it serves. The
certificates are made by openssl. serve_tls.py SERVER"""
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings

from harness import (HOLDABLE, SLOW, Hold, Repository, Server, Wire, expect_error, queue_rows, request_bytes, run_all,
                     wait_until)

ROW = [0.1, 0.2, -0.3]
BODY = {"inputs": [ROW], "seed": 1, "estimator": "importance", "num_samples": 1024}
LONG = {**BODY, "inputs": [ROW] * 500, "num_samples": 4096}


# ---- certificates ----


class Certificates:
    """A folder with cert.pem and key.pem, which renew() replaces."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="ebm-tls-")
        self.cert, self.key = os.path.join(self.path, "cert.pem"), os.path.join(self.path, "key.pem")
        self.renew("first")

    def renew(self, name, kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-keyout", self.key, "-out", self.cert, "-days", "2",
                        "-nodes", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True, timeout=60)

    def context(self):
        return ssl.create_default_context(cafile=self.cert)

    def remove(self):
        shutil.rmtree(self.path)


class TlsServer(Server):
    def __init__(self, binary, repository, certificates, *options):
        self.context = certificates.context()
        super().__init__(binary, repository, "--tls-cert", certificates.cert, "--tls-key", certificates.key, *options)

    def connect(self, timeout=60):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout * SLOW, context=self.context)


class TlsWire(Wire):
    def __init__(self, server):
        super().__init__(server)
        self.link = server.context.wrap_socket(self.link, server_hostname="127.0.0.1")

    def name(self):
        return dict(pair[0] for pair in self.link.getpeercert()["subject"])["commonName"]


@contextlib.contextmanager
def encrypted(binary, *options, others=()):
    """With relu_1d as m, and other models."""
    certificates, repository = Certificates(), Repository().golden("relu_1d", name="m")
    for other in others:
        repository.golden(other)
    server = TlsServer(binary, repository, certificates, *options)
    try:
        yield server, certificates
        status = server.stop()
        assert status == 0, f"exit status {status}:\n" + "\n".join(server.lines[-20:])
    finally:
        server.kill()
        repository.remove()
        certificates.remove()


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- tests ----


def test_the_same_answers_as_without(binary):
    repository = Repository().golden("relu_1d", name="m")
    plain = Server(binary, repository)
    bodies = (BODY, LONG, {**BODY, "inputs": [ROW] * 2000, "num_samples": 8})
    try:
        expected = [plain.predict(body) for body in bodies]
        assert plain.stop() == 0
    finally:
        plain.kill()
        repository.remove()
    with encrypted(binary) as (server, certificates):
        link = server.connect()
        for body, (status, answer) in zip(bodies, expected):
            for connection in (None, link):
                got = server.predict(body, connection)
                assert got == (status, answer) and status == 200, (got[0], status)
        link.close()
        assert server.ask("GET", "/metrics")[0] == 200 and server.ask("HEAD", "/livez")[2] == b""
        if shutil.which("curl"):
            got = subprocess.run(["curl", "-sS", "--cacert", certificates.cert, "--data-binary", "@-",
                                  f"https://127.0.0.1:{server.port}/predict"], input=json.dumps(LONG).encode(),
                                 capture_output=True, timeout=60, check=True)
            assert json.loads(got.stdout) == expected[1][1]


def test_only_what_is_safe_is_spoken(binary):
    with encrypted(binary) as (server, certificates):
        with Wire(server) as wire:  # no handshake
            wire.send(request_bytes(b"", first="GET /livez HTTP/1.1"))
            assert wire.is_closed() and not wire.unread.startswith(b"HTTP"), wire.unread
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            try:
                ssl.create_default_context().wrap_socket(link, server_hostname="127.0.0.1")
                raise AssertionError("a stranger's certificate")
            except ssl.SSLError:
                pass
        for version, is_good in ((ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                                 (ssl.TLSVersion.TLSv1_3, True)):
            context = certificates.context()
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            warnings.simplefilter("ignore", DeprecationWarning)  # of old versions, which is the point
            context.minimum_version = context.maximum_version = version
            with socket.create_connection(("127.0.0.1", server.port)) as link:
                try:
                    context.wrap_socket(link, server_hostname="127.0.0.1").close()
                    assert is_good, version
                except ssl.SSLError:
                    assert not is_good, version


def test_many_at_once_and_clients_that_leave(binary):
    with encrypted(binary, "--workers", 2, "--max-queue-rows", 20000) as (server, _):
        status, expected = server.predict(LONG)
        assert status == 200
        failures = []

        def run(n):
            try:
                link = server.connect(60)
                for i in range(4):
                    if n % 4 == 3:
                        with TlsWire(server) as wire:  # leaves while it is computed
                            wire.send(request_bytes(json.dumps(LONG).encode()))
                            time.sleep(0.01 * i)
                    elif server.predict(LONG, link) != (200, expected):
                        failures.append("another answer")
                link.close()
            except Exception as error:  # pylint: disable=broad-except
                failures.append(repr(error))

        threads = [threading.Thread(target=run, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(160 * SLOW)
        assert not failures, failures[:5]
        assert wait_until(lambda: b"ebm_http_requests_in_flight 1\n" in server.ask("GET", "/metrics")[2])
        before = cpu_seconds(server)
        time.sleep(1)
        assert cpu_seconds(server) - before < 0.3, "it is idle"


def test_bodies_that_come_in_pieces(binary):
    with encrypted(binary) as (server, _):
        body = json.dumps(LONG).encode()
        expected = server.predict(LONG)[1]
        with TlsWire(server) as wire:
            for size in (1 << 20, 4096, 700, 97):
                wire.send(request_bytes(body), pieces_of=size)
                assert json.loads(wire.answer()[2]) == expected, size
            for size in (65536, 1000, 60):  # a record for the size, the bytes and the end of each chunk
                wire.send(request_bytes(b"", "Transfer-Encoding: chunked", length=False))
                for at in range(0, len(body), size):
                    part = body[at:at + size]
                    for piece in (f"{len(part):x}\r\n".encode(), part, b"\r\n"):
                        wire.send(piece)
                    if at % 7 == 0:
                        time.sleep(0.001)
                wire.send(b"0\r\n\r\n")
                assert json.loads(wire.answer()[2]) == expected, size
            wire.send(request_bytes(body) * 3)
            for _ in range(3):
                assert json.loads(wire.answer()[2]) == expected


def test_answers_that_come_early(binary):
    with encrypted(binary, "--max-body-bytes", 100000) as (server, _):
        with TlsWire(server) as wire:
            wire.send(request_bytes(b"", length=10 ** 8))
            expect_error(wire.answer(), 413, "too_large")


def test_who_does_not_go_on_is_sent_away(binary):
    with encrypted(binary, "--body-timeout-ms", 1500, "--max-body-bytes", 100000) as (server, _):
        with TlsWire(server) as wire:
            wire.send(request_bytes(b"", "Transfer-Encoding: chunked", length=False))
            for _ in range(20):
                if not wire.send(b"20000\r\n" + b"x" * 0x20000 + b"\r\n"):
                    break
            answer = wire.answer()
            assert answer is None or answer[0] == 413, answer
        with TlsWire(server) as wire:  # the size of a chunk that does not end
            wire.send(request_bytes(b"", "Transfer-Encoding: chunked", length=False))
            wire.send(b"5;" + b"a" * (1 << 20))
            expect_error(wire.answer(), 400, "invalid", "chunk")
        with TlsWire(server) as wire:
            wire.send(request_bytes(b"{" * 100, length=50000))
            expect_error(wire.answer(), 408, "body_timeout")  # written beside the library
            assert wire.is_closed()
        for data in (b"", b"\x16\x03\x01\x02\x00", os.urandom(300), b"\x16\x03\x01\x3f\xff" + b"x" * 200):
            with Wire(server) as wire:  # a handshake that does not go on
                wire.send(data)
                assert wire.is_closed()
        assert server.ask("GET", "/livez")[0] == 200


def test_a_large_answer_to_a_slow_reader(binary):
    ask = {"inputs": [ROW] * 20, "num_samples": 5000, "seed": 1}
    with encrypted(binary, "--max-request-numbers", 1 << 34) as (server, _):
        status, _, expected = server.ask("POST", "/sample", ask)
        assert status == 200 and len(expected) > 1 << 20, (status, len(expected))
        with TlsWire(server) as wire:
            wire.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            wire.send(request_bytes(json.dumps(ask).encode(), first="POST /sample HTTP/1.1"))
            time.sleep(0.5)
            assert server.ask("GET", "/livez")[0] == 200
            assert wire.answer()[2] == expected


def test_a_stop_answers_what_was_read(binary):
    rows = {**BODY, "model": "m", "inputs": [ROW] * 20}
    with encrypted(binary, *HOLDABLE, others=["smooth_2d"]) as (server, _):
        expected = server.predict(rows)[1]
        wires = [TlsWire(server) for _ in range(8)]
        with Hold(server, TlsWire(server)):
            for wire in wires:
                wire.send(request_bytes(json.dumps(rows).encode()))
            assert wait_until(lambda: queue_rows(server) == 1 + 8 * 20)
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: any("signal received" in line for line in server.lines))
        for wire in wires:
            status, _, body = wire.answer()
            assert status == 200 and json.loads(body) == expected, status
            wire.link.close()
        assert server.ended() == 0


def test_a_new_certificate_while_it_serves(binary):
    with encrypted(binary) as (server, certificates):
        def name():
            server.context = certificates.context()
            with TlsWire(server) as wire:
                return wire.name()

        def reload(expected):
            server.lines.append("")
            at = len(server.lines)
            server.process.send_signal(signal.SIGHUP)
            assert wait_until(lambda: any(expected in line for line in server.lines[at:])), server.lines[at:]

        first = server.context
        with TlsWire(server) as before:
            assert before.name() == "first"
            certificates.renew("second", ("rsa:2048",))
            reload("certificate read again")
            assert name() == "second"
            before.send(request_bytes(json.dumps(BODY).encode()))
            assert before.answer()[0] == 200, "a connection from before"
            with open(certificates.key, "rb") as file:
                key = file.read()
            with open(certificates.cert, "rb") as file:
                cert = file.read()
            certificates.renew("third")
            with open(certificates.cert, "rb") as file:
                third = file.read()
            for text, said in ((cert, "key of --tls-cert"), (b"", "PEM file of 1"), (b"nonsense", "expected 1 to 16"),
                               (third[:-200], "expected 1 to 16"), (third * 17, "expected 1 to 16"), (b"x" * (300 << 10), "PEM file of 1")):
                with open(certificates.cert, "wb") as file:
                    file.write(text)
                reload(said)
                with open(certificates.cert, "wb") as file:
                    file.write(cert)  # what clients trust
                assert name() == "second", said
            with open(certificates.key, "wb") as file:
                file.write(key)
            for _ in range(3):
                reload("certificate read again")
            assert name() == "second"
        assert first


def test_what_no_server_starts_with(binary):
    certificates, repository = Certificates(), Repository().golden("relu_1d")
    try:
        other = Certificates()
        cases = ((("--tls-cert", certificates.cert), "go together"), (("--tls-key", certificates.key), "go together"),
                 (("--tls-cert", certificates.cert, "--tls-key", other.key), "another one's"),
                 (("--tls-cert", certificates.key, "--tls-key", certificates.key), "--tls-cert"),
                 (("--tls-cert", certificates.cert, "--tls-key", certificates.cert), "--tls-key"),
                 (("--tls-cert", "/nowhere", "--tls-key", certificates.key), "cannot read"))
        for options, said in cases:
            for more in ((), ("--check-config",)):
                server = Server(binary, repository, *options, *more, expect_start=False)
                assert server.process.wait(60 * SLOW) == 1, options
                server.reader.join(5)
                assert any(said in line for line in server.lines), (options, server.lines)
        server = Server(binary, repository, "--tls-cert", certificates.cert, "--tls-key", certificates.key, "--check-config",
                        expect_start=False)
        assert server.process.wait(60 * SLOW) == 0
        other.remove()
    finally:
        certificates.remove()
        repository.remove()


if __name__ == "__main__":
    if not shutil.which("openssl"):
        sys.exit(77)  # skipped
    sys.exit(run_all(globals(), sys.argv[1]))
