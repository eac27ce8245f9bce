"""Client blocks, AsyncClient awaits; both only carry out what _exchange.call says."""
from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Unpack
from urllib.parse import quote

import anyio
import httpx

from . import _answers, _requests
from ._answers import Density, ModelEntry, ModelInfo, Prediction, Refinement, Samples
from ._errors import AnswerTooLarge, BadAnswer, CallTimeout, ConnectionFailed, EbmError, InvalidRequest, NotReady
from ._exchange import Attempt, Reply, Settings, call, default_key, default_server
from ._requests import DensityOptions, Inputs, PredictOptions, RefineOptions, SampleOptions

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}


def _settings(server: str | None, timeout: float, connect_timeout: float, max_retries: int, max_wait: float,
              max_answer_bytes: int) -> Settings:
    return Settings((server or default_server()).rstrip("/"), timeout, connect_timeout, max_retries, max_wait, max_answer_bytes)


def _limits(settings: Settings, rest: float) -> httpx.Timeout:
    return httpx.Timeout(rest, connect=min(settings.connect_timeout, rest))


def _method(body: bytes | None) -> str:
    return "GET" if body is None else "POST"


def _translated(settings: Settings, error: Exception) -> EbmError:
    where, words = settings.server, str(error) or type(error).__name__
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return CallTimeout(f"{where}: no answer in time: {words}; is the server at work, or the time too short?")
    if isinstance(error, (httpx.NetworkError, httpx.ProxyError)) or "without sending a response" in words:
        return ConnectionFailed(f"{where}: {words}; does a server listen there?")
    return BadAnswer(f"{where}: {words}; is this an ebm-server, and did it end in between?")


@contextlib.contextmanager
def _errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except EbmError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise _translated(settings, error) from error


class _Body:
    """Collects the pieces of an answer; knows its limits."""

    def __init__(self, settings: Settings, rest: float) -> None:
        self.settings, self.end, self.size = settings, time.monotonic() + rest, 0
        self.pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self.settings.max_answer_bytes:
            raise AnswerTooLarge(f"{self.settings.server}: the answer is larger than max_answer_bytes "
                                 f"({self.settings.max_answer_bytes}); ask for less, or raise it")
        if time.monotonic() > self.end:
            raise CallTimeout(f"{self.settings.server}: no answer in time: it came too slowly; ask the server for less, or "
                              "raise timeout")
        self.pieces.append(piece)

    def reply(self, response: httpx.Response) -> Reply:
        headers = response.headers
        return Reply(response.status_code, b"".join(self.pieces), headers.get("retry-after"), headers.get("x-request-id"))


def _headers(api_key: str | None) -> dict[str, str]:
    key = api_key or default_key()
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidRequest("api_key: expected visible ASCII characters")
    return {**_HEADERS, "Authorization": f"Bearer {key}"} if key else _HEADERS


class Client:
    """A server, asked by one thread or many. Connections are kept and reused; close() or `with` ends them.

    server: $EBM_SERVER, or http://127.0.0.1:8080. timeout: seconds for a whole call with everything that is asked again;
    a server that sends its headers drop by drop can stretch it, AsyncClient's is strict. connect_timeout: for a connection.
    max_retries, max_wait: how often 429 and 503 are asked again, and the longest wait before. api_key: $EBM_API_KEY, or none; use
    https where others can listen."""

    def __init__(self, server: str | None = None, *, timeout: float = 60.0, connect_timeout: float = 3.0, max_retries: int = 4,
                 max_wait: float = 5.0, max_answer_bytes: int = 64 << 20, api_key: str | None = None) -> None:
        self._settings = _settings(server, timeout, connect_timeout, max_retries, max_wait, max_answer_bytes)
        self._http = httpx.Client(headers=_headers(api_key), follow_redirects=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def predict(self, inputs: Inputs, **options: Unpack[PredictOptions]) -> Prediction:
        """Mean, spread and quantiles for rows (B, X), or (B) for one input; for images (B, channels, height, width), or a
        list of whole PNG and JPEG files as bytes."""
        return _answers.prediction(self._call("/predict", _requests.body(inputs, options)), _requests.n_rows(inputs))

    def sample(self, inputs: Inputs, **options: Unpack[SampleOptions]) -> Samples:
        """Samples (B, num_samples, D); with resample=False all proposals and their log weights."""
        return _answers.samples(self._call("/sample", _requests.body(inputs, options)), _requests.n_rows(inputs))

    def density(self, inputs: Inputs, **options: Unpack[DensityOptions]) -> Density:
        """The density at targets, or on a grid (lower, upper, points)."""
        return _answers.density(self._call("/density", _requests.body(inputs, options)), _requests.n_rows(inputs))

    def refine(self, inputs: Inputs, **options: Unpack[RefineOptions]) -> Refinement:
        """The most likely target near `initial` (B, S, D), or near the best draws of the proposal."""
        return _answers.refinement(self._call("/refine", _requests.body(inputs, options)), _requests.n_rows(inputs))

    def models(self) -> list[ModelEntry]:
        return _answers.models(self._call("/"))

    def model(self, name: str) -> ModelInfo:
        return _answers.model(self._call("/v2/models/" + quote(name, safe="")))

    def live(self) -> bool:
        """Does the process answer? True, or an error. Asked once."""
        return _answers.is_true(self._call("/livez", again=False), "live")

    def ready(self) -> bool:
        """Are models loaded? False while starting and stopping. Asked once."""
        try:
            return _answers.is_true(self._call("/readyz", again=False), "ready")
        except NotReady:
            return False

    def _call(self, path: str, body: bytes | None = None, again: bool = True) -> bytes:
        steps = call(self._settings, again)
        reply: Reply | None = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                return bytes(end.value)
            if isinstance(step, Attempt):
                reply = self._attempt(path, body, step.rest)
            else:
                time.sleep(step.seconds)
                reply = None

    def _attempt(self, path: str, body: bytes | None, rest: float) -> Reply:
        collected = _Body(self._settings, rest)
        with _errors(self._settings), self._http.stream(_method(body), self._settings.server + path, content=body,
                                                        timeout=_limits(self._settings, rest)) as response:
            for piece in response.iter_raw():
                collected.add(piece)
            return collected.reply(response)


class AsyncClient:
    """The same to await, in asyncio or trio; one task or many. Arguments as in Client."""

    def __init__(self, server: str | None = None, *, timeout: float = 60.0, connect_timeout: float = 3.0, max_retries: int = 4,
                 max_wait: float = 5.0, max_answer_bytes: int = 64 << 20, api_key: str | None = None) -> None:
        self._settings = _settings(server, timeout, connect_timeout, max_retries, max_wait, max_answer_bytes)
        self._http = httpx.AsyncClient(headers=_headers(api_key), follow_redirects=False)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def predict(self, inputs: Inputs, **options: Unpack[PredictOptions]) -> Prediction:
        return _answers.prediction(await self._call("/predict", _requests.body(inputs, options)), _requests.n_rows(inputs))

    async def sample(self, inputs: Inputs, **options: Unpack[SampleOptions]) -> Samples:
        return _answers.samples(await self._call("/sample", _requests.body(inputs, options)), _requests.n_rows(inputs))

    async def density(self, inputs: Inputs, **options: Unpack[DensityOptions]) -> Density:
        return _answers.density(await self._call("/density", _requests.body(inputs, options)), _requests.n_rows(inputs))

    async def refine(self, inputs: Inputs, **options: Unpack[RefineOptions]) -> Refinement:
        return _answers.refinement(await self._call("/refine", _requests.body(inputs, options)), _requests.n_rows(inputs))

    async def models(self) -> list[ModelEntry]:
        return _answers.models(await self._call("/"))

    async def model(self, name: str) -> ModelInfo:
        return _answers.model(await self._call("/v2/models/" + quote(name, safe="")))

    async def live(self) -> bool:
        return _answers.is_true(await self._call("/livez", again=False), "live")

    async def ready(self) -> bool:
        try:
            return _answers.is_true(await self._call("/readyz", again=False), "ready")
        except NotReady:
            return False

    async def _call(self, path: str, body: bytes | None = None, again: bool = True) -> bytes:
        steps = call(self._settings, again)
        reply: Reply | None = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                return bytes(end.value)
            if isinstance(step, Attempt):
                reply = await self._attempt(path, body, step.rest)
            else:
                await anyio.sleep(step.seconds)
                reply = None

    @contextlib.asynccontextmanager
    async def _stream(self, path: str, body: bytes | None, rest: float) -> AsyncIterator[httpx.Response]:
        with _errors(self._settings), anyio.fail_after(rest):
            async with self._http.stream(_method(body), self._settings.server + path, content=body,
                                         timeout=_limits(self._settings, rest)) as response:
                yield response

    async def _attempt(self, path: str, body: bytes | None, rest: float) -> Reply:
        collected = _Body(self._settings, rest)
        async with self._stream(path, body, rest) as response:
            async for piece in response.aiter_raw():
                collected.add(piece)
            return collected.reply(response)
