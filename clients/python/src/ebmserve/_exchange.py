"""One call without I/O: what to do next, for clients that block and clients that await.

    call() yields Attempt -> is sent a Reply;  yields Sleep -> is sent None;  returns the body of a 200 answer

429 and 503 are asked again, as every request may be: an answer depends on nothing that came before. The wait is what
Retry-After says, or doubles from 0.1 s; at most max_wait, with up to a quarter more by chance. A call that could not end
within its time any more ends at once with the refusal."""
from __future__ import annotations

import email.utils
import os
import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from urllib.parse import urlsplit

from ._errors import InvalidRequest, refusal


@dataclass(frozen=True)
class Settings:
    server: str
    timeout: float
    connect_timeout: float
    max_retries: int
    max_wait: float
    max_answer_bytes: int

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.server)
            fits = parts.scheme in ("http", "https") and parts.hostname and not parts.query and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise InvalidRequest(f"server: {self.server!r} is no address, expected one like http://127.0.0.1:8080")
        if min(self.timeout, self.connect_timeout) <= 0 or min(self.max_retries, self.max_wait) < 0 or self.max_answer_bytes < 1:
            raise InvalidRequest("client: expected times and max_answer_bytes above 0, max_retries and max_wait not below 0")


def default_server() -> str:
    return os.environ.get("EBM_SERVER") or "http://127.0.0.1:8080"


def default_key() -> str | None:
    return os.environ.get("EBM_API_KEY") or None


@dataclass(frozen=True)
class Attempt:
    """Ask, and take at most `rest` seconds."""

    rest: float


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    retry_after: str | None
    request_id: str | None


def told_seconds(retry_after: str | None) -> float:
    """Retry-After: seconds or a date; 0: not said, or said to be now."""
    if not retry_after:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return 0.0


def _wait(settings: Settings, reply: Reply, n: int) -> float:
    wait = told_seconds(reply.retry_after) or 0.1 * 2.0 ** min(n - 1, 16)
    return min(wait, settings.max_wait) * (1.0 + 0.25 * random.random())


def call(settings: Settings, again: bool = True) -> Generator[Attempt | Sleep, Reply | None, bytes]:
    end = time.monotonic() + settings.timeout
    n = 0
    while True:
        n += 1
        reply = yield Attempt(max(end - time.monotonic(), 1e-3))
        assert reply is not None
        if reply.status == 200:
            return reply.body
        wait = _wait(settings, reply, n)
        may_pass = again and reply.status in (429, 503) and n <= settings.max_retries
        if not may_pass or time.monotonic() + wait >= end:
            raise refusal(reply.status, reply.body, reply.request_id, n)
        yield Sleep(wait)
