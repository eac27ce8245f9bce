"""test_ebmserve.py - the Python package, blocking and awaiting, against the fake server and, where EBM_SERVER_BINARY names
one, the real one. scripts/test-python-client.sh runs it."""
from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import ebmserve
import numpy as np
import pytest
from ebmserve import AsyncClient, Client

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e")]
import fake_server  # noqa: E402
import harness  # noqa: E402

Ask = Callable[..., Any]


@pytest.fixture()
def server() -> Iterator[Any]:
    with fake_server.serving() as running:
        yield running


def ask_blocking(url: str, method: str, *arguments: Any, settings: dict[str, Any] | None = None, **options: Any) -> Any:
    with Client(url, **(settings or {})) as client:
        return getattr(client, method)(*arguments, **options)


def ask_awaiting(url: str, method: str, *arguments: Any, settings: dict[str, Any] | None = None, **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, **(settings or {})) as client:
            return await getattr(client, method)(*arguments, **options)

    return anyio.run(run)


@pytest.fixture(params=[ask_blocking, ask_awaiting], ids=["blocking", "awaiting"])
def ask(request: Any) -> Ask:
    return request.param


ROWS = [[1, 2]]
BUSY_S = 12  # what a busy machine may add; silence and drops take longer


def test_arrays(server: Any, ask: Ask) -> None:
    url = f"{server.url}/ok"
    answer = ask(url, "predict", [[1, 2], [-3, 0.1]], seed=0, id="i")
    assert answer.mean.tolist() == [[3], [-2.9]] and answer.std.shape == (2, 1) and answer.variance is None
    assert (answer.model, answer.version, answer.seed, answer.id) == ("m", 3, 0, "i")
    assert answer.diagnostics.reliable.tolist() == [True, True] and answer.diagnostics.reason == (None, None)
    assert answer.diagnostics.num_samples.tolist() == [64, 64] and answer.diagnostics.mcse_mean.shape == (2, 1)
    drawn = ask(url, "sample", [1.0, 2.0], num_samples=3)
    assert drawn.samples.tolist() == [[[1], [2], [3]], [[2], [3], [4]]] and drawn.log_weights is None
    density = ask(url, "density", [1, 2], targets=[1, 2.5])
    assert density.log_prob.tolist() == [[-1, -2.5]] * 2 and density.targets.shape == (2, 2, 1)
    climbed = ask(url, "refine", [1, 2], steps=2, trajectory=True)
    assert climbed.mode.tolist() == [[1.5], [3.5]] and climbed.unnormalized_log_prob.tolist() == [-1, -2]
    assert climbed.converged.tolist() == [True, False] and climbed.steps.tolist() == [1, 2] and climbed.model == "m"
    assert [way.tolist() for way in climbed.trajectory] == [[[1], [1.5]], [[2], [2.75], [3.5]]]
    assert ask(url, "refine", [1, 2]).trajectory is None
    assert [entry.available for entry in ask(url, "models")] == [True, False]
    about = ask(url, "model", "a/b c")
    assert (about.n_inputs, about.n_targets, about.input_names) == (2, 1, ("a", "b"))
    assert server.log[-1]["path"] == "/v2/models/a%2Fb%20c"
    assert ask(url, "live") is True and ask(url, "ready") is True
    assert ask(f"{server.url}/unready", "ready") is False


def test_whole_answer(server: Any, ask: Ask) -> None:
    answer = ask(f"{server.url}/more", "predict", [1, 2])
    assert answer.probabilities.tolist() == [0.1, 0.9] and answer.quantiles.tolist() == [[[1], [2]]] * 2
    assert (answer.interval.kind, answer.interval.level) == ("equal_tailed", 0.8)
    assert answer.interval.lower.tolist() == [[[1]]] * 2 and answer.interval.upper.shape == (2, 1, 1)
    assert answer.log_normalizer.tolist() == [0.75, 0.75]


def test_every_field_is_sent(server: Any, ask: Ask) -> None:
    shared = {"model": "m", "version": 3, "estimator": "mixture", "draws": "independent", "num_samples": 9, "seed": 5,
              "timeout_ms": 70, "priority": 2, "id": "i"}
    url = f"{server.url}/ok"
    ask(url, "predict", ROWS, **shared, outputs=("mean", "std"), quantiles=np.array([0.1, 0.9]), interval_level=np.float64(0.5),
        interval_kind="equal_tailed")
    ask(url, "sample", ROWS, **shared, num_proposals=np.int64(44), resample=False)
    ask(url, "density", np.array(ROWS), **shared, outputs=["log_prob"], targets=[[[1], [2]]])
    ask(url, "refine", ROWS, initial=[[[1, 2]]], steps=4, step_length=np.array([0.5, 2]), decay=0.75, trajectory=True)
    ask(url, "sample", ROWS, refine={"steps": np.int64(5)})
    ask(url, "density", [b"\x89PNG", bytearray(b"\xff\xd8")], targets=[1])
    with pytest.raises(ebmserve.BadRequest):
        ask(f"{server.url}/refused", "density", [1], grid=(-1, 2.5, 4), outputs=None)
    sent = [json.loads(entry["body"]) for entry in server.log]
    shared["inputs"] = ROWS
    assert sent[0] == {**shared, "outputs": ["mean", "std"], "quantiles": [0.1, 0.9],
                       "interval": {"kind": "equal_tailed", "level": 0.5}}
    assert sent[1] == {**shared, "num_proposals": 44, "resample": False}
    assert sent[2] == {**shared, "outputs": ["log_prob"], "targets": [[[1], [2]]]}
    assert sent[3] == {"inputs": ROWS, "initial": [[[1, 2]]], "steps": 4, "step_length": [0.5, 2], "decay": 0.75, "trajectory": True}
    assert sent[4] == {"inputs": ROWS, "refine": {"steps": 5}}
    assert sent[5] == {"inputs": [{"b64": "iVBORw=="}, {"b64": "/9g="}], "targets": [[[1]], [[1]]]}
    assert sent[6] == {"inputs": [[1]], "grid": {"lower": -1, "upper": 2.5, "points": 4}}


@pytest.mark.parametrize(("method", "inputs", "options", "words"), [
    ("predict", [], {}, "inputs"), ("predict", [[1, 2], [3]], {}, "one length"), ("predict", [[1, float("nan")]], {}, r"inputs\[0, 1\]"),
    ("predict", [[[1]]], {}, "3 dimensions"), ("predict", 5, {}, "0 dimensions"), ("predict", [["a"]], {}, "expected numbers"),
    ("predict", b"one", {}, "a list of them"), ("predict", [b"one", 2], {}, "expected numbers"),
    ("predict", ROWS, {"quantiles": [float("inf")]}, "request"), ("predict", ROWS, {"id": object()}, "no place"),
    ("density", ROWS, {"targets": [[1], [2]]}, r"\(1, T, D\)"), ("density", ROWS, {"grid": (1, 2)}, "lower, upper, points"),
    ("density", ROWS, {"grid": 7}, "lower, upper, points")])
def test_what_cannot_be_sent(server: Any, ask: Ask, method: str, inputs: Any, options: Any, words: str) -> None:
    with pytest.raises(ebmserve.InvalidRequest, match=words):
        ask(f"{server.url}/ok", method, inputs, **options)
    assert not server.log


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Client, AsyncClient):
        monkeypatch.delenv("EBM_API_KEY", raising=False)
        assert "authorization" not in kind("http://127.0.0.1:1")._http.headers
        monkeypatch.setenv("EBM_API_KEY", "of-the-environment")
        assert kind("http://127.0.0.1:1")._http.headers["authorization"] == "Bearer of-the-environment"
        assert kind("http://127.0.0.1:1", api_key="given")._http.headers["authorization"] == "Bearer given"
        for key in ("a b", "a\r\nX: y", "ä"):
            with pytest.raises(ebmserve.InvalidRequest, match="api_key"):
                kind("http://127.0.0.1:1", api_key=key)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "nonsense", "http://", "http://127.0.0.1:1/?a=b", "http://127.0.0.1:99999"])
def test_bad_addresses(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ebmserve.InvalidRequest, match="no address"):
            kind(url)
    with pytest.raises(ValueError):
        Client(timeout=0)


@pytest.mark.parametrize(("how", "kind", "status", "code", "request_id"), [
    ("refused", ebmserve.BadRequest, 400, "invalid", "r-1"), ("late", ebmserve.ServerTimeout, 504, "timeout", "r-1"),
    ("down,9", ebmserve.Refused, 500, None, "h-9"), ("busy,9,,x", ebmserve.QueueFull, 429, "queue_full", "r-1"),
    ("unready", ebmserve.NotReady, 503, "not_ready", "r-1")])
def test_refusals(server: Any, ask: Ask, how: str, kind: type[ebmserve.Refused], status: int, code: str | None,
                  request_id: str) -> None:
    with pytest.raises(kind) as caught:
        ask(f"{server.url}/{how}", "predict", ROWS, settings={"max_retries": 0})
    error = caught.value
    assert (error.status, error.code, error.request_id, error.attempts) == (status, code, request_id, 1)
    assert len(server.requests(how)) == 1
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error)


def test_asked_again(server: Any, ask: Ask) -> None:
    def check_waits(how: str, *expected: float) -> None:
        times = [entry["time"] for entry in server.requests(how)]
        waits = [after - before for before, after in zip(times, times[1:])]
        assert len(waits) == len(expected), waits
        for wait, seconds in zip(waits, expected):
            assert 0.95 * seconds < wait < 1.25 * seconds + BUSY_S, (waits, expected)

    assert ask(f"{server.url}/busy,3,,a", "predict", ROWS).mean.tolist() == [[3]]
    check_waits("busy,3,,a", 0.1, 0.2, 0.4)
    ask(f"{server.url}/busy,1,2,b", "predict", ROWS)
    check_waits("busy,1,2,b", 2)
    ask(f"{server.url}/busy,1,3600,c", "predict", ROWS, settings={"max_wait": 0.2})
    check_waits("busy,1,3600,c", 0.2)
    with pytest.raises(ebmserve.QueueFull, match="asked 3 times"):
        ask(f"{server.url}/busy,9,,d", "predict", ROWS, settings={"max_retries": 2})
    start = time.monotonic()
    with pytest.raises(ebmserve.QueueFull):
        ask(f"{server.url}/busy,9,3600,e", "predict", ROWS, settings={"timeout": 50.0, "max_wait": 60.0})
    assert time.monotonic() - start < 50 and len(server.requests("busy,9,3600,e")) == 1, "a wait that ends too late"


@pytest.mark.parametrize(("how", "kind"), [
    ("garbage", ebmserve.BadAnswer), ("html", ebmserve.BadAnswer), ("half", ebmserve.BadAnswer), ("broken", ebmserve.BadAnswer),
    ("close", ebmserve.ConnectionFailed), ("huge", ebmserve.AnswerTooLarge), ("silent", ebmserve.CallTimeout),
    ("drip", ebmserve.CallTimeout)])
def test_what_is_no_answer(server: Any, ask: Ask, how: str, kind: type[ebmserve.EbmError]) -> None:
    settings = {"max_answer_bytes": 1000000, "timeout": 1.0 if kind is ebmserve.CallTimeout else 60}
    start = time.monotonic()
    with pytest.raises(kind, match="server|max_answer_bytes"):
        ask(f"{server.url}/{how}", "predict", ROWS, settings=settings)
    assert len(server.requests(how)) == 1
    if ask is ask_awaiting or how != "drip":  # headers drop by drop: the blocking client says so in its description
        assert time.monotonic() - start < BUSY_S


@pytest.mark.parametrize("k", range(len(fake_server.WRONG)))
def test_members_of_other_types(server: Any, ask: Ask, k: int) -> None:
    with pytest.raises(ebmserve.BadAnswer, match="expected"):
        ask(f"{server.url}/wrong,{k}", "predict", [1, 2])


def test_rows_that_nobody_asked_for(server: Any, ask: Ask) -> None:
    with pytest.raises(ebmserve.BadAnswer, match="expected 1 rows, got 2"):
        ask(f"{server.url}/more", "predict", ROWS)


def test_catalogues_of_other_types(server: Any, ask: Ask) -> None:
    for k in (0, 1, 2, 4):
        for method, arguments in (("models", ()), ("model", ("m",)), ("live", ()), ("ready", ())):
            with pytest.raises(ebmserve.BadAnswer):
                ask(f"{server.url}/wrong,{k}", method, *arguments)


def test_unknown_members_and_nulls(server: Any, ask: Ask) -> None:
    answer = ask(f"{server.url}/odd", "predict", ROWS)
    assert np.isnan(answer.mean).all() and answer.std.tolist() == [[0.5]]
    assert answer.diagnostics.reason == ("not_finite",) and answer.diagnostics.ess is None
    assert answer.diagnostics.num_samples.tolist() == [0]


def test_connections(server: Any, ask: Ask) -> None:
    with pytest.raises(ebmserve.ConnectionFailed):
        ask("http://127.0.0.1:1", "live")
    with Client(f"{server.url}/ok") as client:
        for _ in range(10):
            client.predict(ROWS)
    assert len({entry["connection"] for entry in server.requests("ok")}) == 1, "one connection for all"
    with Client(f"{server.url}/once") as client:
        for _ in range(3):
            client.predict(ROWS)
            time.sleep(0.05)


def test_threads_and_tasks(server: Any) -> None:
    seen: list[float] = []
    with Client(f"{server.url}/ok") as client:
        threads = [threading.Thread(target=lambda i=i: seen.extend(client.predict([[i, j]]).mean[0, 0] for j in range(20)))
                   for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(seen) == sorted(i + j for i in range(8) for j in range(20))

    async def run() -> None:
        async with AsyncClient(f"{server.url}/ok") as client, anyio.create_task_group() as group:
            async def one(i: int) -> None:
                assert (await client.predict([[i, 1]])).mean.tolist() == [[i + 1]]

            for i in range(40):
                group.start_soon(one, i)

    anyio.run(run)
    anyio.run(run, backend="trio")


def test_labelled_arrays(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for absent in ("xarray", "arviz"):
        monkeypatch.setitem(sys.modules, absent, None)
    answer = ask_blocking(f"{server.url}/ok", "predict", ROWS, seed=4)
    plain = answer.to_dataset()
    assert plain["data_vars"]["mean"]["dims"] == ("row", "target") and plain["attrs"] == {"model": "m", "version": 3, "seed": 4}
    drawn = ask_blocking(f"{server.url}/ok", "sample", [1, 2], num_samples=5)
    group = drawn.to_inference_data()["posterior_predictive"]
    assert group["data_vars"]["y"]["data"].shape == (1, 5, 2, 1) and group["dims"]["draw"] == 5
    assert group["data_vars"]["y"]["data"][0, :, 1, 0].tolist() == [2, 3, 4, 5, 6]


def test_labelled_arrays_of_others(server: Any) -> None:
    pytest.importorskip("xarray")
    arviz = pytest.importorskip("arviz")
    data = ask_blocking(f"{server.url}/ok", "predict", ROWS).to_dataset()
    assert data["mean"].dims == ("row", "target") and data.sizes["row"] == 1
    drawn = ask_blocking(f"{server.url}/ok", "sample", [1, 2], num_samples=50).to_inference_data()
    assert arviz.summary(drawn, group="posterior_predictive", kind="stats")["mean"].tolist() == [25.5, 26.5]


def test_weighted_samples_are_not_equal_draws() -> None:
    with harness_server() as server:
        with Client(f"http://127.0.0.1:{server.port}") as client:
            weighted = client.sample([[0.1, 0.2, 0.3]], resample=False, num_proposals=16)
    assert weighted.log_weights is not None and weighted.samples.shape == (1, 16, 1)
    assert abs(np.exp(weighted.log_weights).sum() - 1) < 1e-4
    with pytest.raises(ValueError, match="resample=True"):
        weighted.to_inference_data()


def harness_server() -> Any:
    binary = os.environ.get("EBM_SERVER_BINARY")
    if not binary:
        pytest.skip("EBM_SERVER_BINARY names no server")
    return harness.serving(binary, harness.Repository().golden("relu_1d"))


def test_answers_equal_those_of_http(ask: Ask) -> None:
    inputs = [[0.1, 0.2, 0.3], [1, -1, 0.5]]
    with harness_server() as server:
        url = f"http://127.0.0.1:{server.port}"
        answer = ask(url, "predict", inputs, seed=3, quantiles=[0.1, 0.9], interval_level=0.5, outputs=["mean", "log_normalizer"],
                     estimator="importance")
        _, raw = server.predict({"inputs": inputs, "seed": 3, "quantiles": [0.1, 0.9], "interval": {"level": 0.5},
                                 "outputs": ["mean", "log_normalizer"], "estimator": "importance"})
        rows = raw["predictions"]
        assert answer.mean.tolist() == [row["mean"] for row in rows]
        assert answer.log_normalizer.tolist() == [row["log_normalizer"] for row in rows]
        assert answer.quantiles.tolist() == [[q["value"] for q in row["quantiles"]] for row in rows]
        assert answer.interval.lower[:, 0].tolist() == [row["interval"]["intervals"][0]["lower"] for row in rows]
        assert answer.diagnostics.ess.tolist() == [row["diagnostics"]["ess"] for row in rows]
        density = ask(url, "density", inputs, seed=3, grid=(-1, 1, 5))
        _, _, data = server.ask("POST", "/density", {"inputs": inputs, "seed": 3, "grid": {"lower": -1, "upper": 1, "points": 5}})
        assert density.log_prob.tolist() == [row["log_prob"] for row in json.loads(data)["predictions"]]
        climbed = ask(url, "refine", inputs, seed=3, steps=20, trajectory=True)
        _, _, data = server.ask("POST", "/refine", {"inputs": inputs, "seed": 3, "steps": 20, "trajectory": True})
        rows = json.loads(data)["predictions"]
        assert climbed.mode.tolist() == [row["mode"] for row in rows] and climbed.steps.tolist() == [row["steps"] for row in rows]
        assert [way.tolist() for way in climbed.trajectory] == [row["trajectory"] for row in rows]
        assert ask(url, "model", "relu_1d").n_inputs == 3 and ask(url, "models")[0].name == "relu_1d"
        with pytest.raises(ebmserve.NotFound):
            ask(url, "predict", inputs, model="none")
        with pytest.raises(ebmserve.BadRequest, match="unknown field"):
            ask(url, "predict", inputs, nonsense=1)
