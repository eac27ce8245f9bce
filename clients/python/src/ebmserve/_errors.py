"""What can go wrong.

    EbmError
      InvalidRequest      ValueError        nothing was sent
      ConnectionFailed    ConnectionError   no connection, or it broke
      CallTimeout         TimeoutError      the client's time is up
      Refused                               the server's error: status, code, request_id
        BadRequest 400   NotFound 404   QueueFull 429   NotReady 503   ServerTimeout 504
      BadAnswer                             not one of an ebm-server
        AnswerTooLarge"""
from __future__ import annotations

import json


class EbmError(Exception):
    """Anything that a client raises."""


class InvalidRequest(EbmError, ValueError):
    """The request makes no sense; nothing was sent."""


class ConnectionFailed(EbmError, ConnectionError):
    """No connection, or it broke before the answer."""


class CallTimeout(EbmError, TimeoutError):
    """The client's time for the whole call is up."""


class BadAnswer(EbmError):
    """Not JSON, cut short, or a member of another type or size; the text names it."""


class AnswerTooLarge(BadAnswer):
    """More bytes than max_answer_bytes."""


class Refused(EbmError):
    """The server answered with an error."""

    def __init__(self, text: str, status: int, code: str | None, request_id: str | None, attempts: int) -> None:
        again = f", asked {attempts} times" if attempts > 1 else ""
        super().__init__(f"{text} (status {status}, {code or 'no code'}, request {request_id or 'unknown'}{again})")
        self.text = text
        self.status = status
        self.code = code
        self.request_id = request_id
        self.attempts = attempts

    def __reduce__(self) -> tuple[type[Refused], tuple[str, int, str | None, str | None, int]]:
        return type(self), (self.text, self.status, self.code, self.request_id, self.attempts)  # for other processes


class BadRequest(Refused):
    """400: the request is not valid, or not available in the server's version."""


class NotFound(Refused):
    """404: no such model or version."""


class QueueFull(Refused):
    """429, after all repetitions."""


class NotReady(Refused):
    """503, after all repetitions: starting, stopping, or that model's file was refused."""


class ServerTimeout(Refused):
    """504: no answer within timeout_ms, or the server's own time."""


_KINDS: dict[int, type[Refused]] = {400: BadRequest, 404: NotFound, 429: QueueFull, 503: NotReady, 504: ServerTimeout}


def refusal(status: int, body: bytes, header_id: str | None, attempts: int) -> Refused:
    """{"error","code","request_id"}, or whatever else a server or a proxy says with such a status."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    said = value if isinstance(value, dict) else {}

    def word(name: str) -> str | None:
        text = said.get(name)
        return text if isinstance(text, str) else None

    text = word("error") or f"HTTP status {status} without an ebm-server's error"
    return _KINDS.get(status, Refused)(text, status, word("code"), word("request_id") or header_id, attempts)
