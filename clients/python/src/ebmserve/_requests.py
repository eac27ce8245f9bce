"""Arguments -> the JSON bodies of POST /predict, /sample, /density and /refine.

What a field may be is the server's to say; here only what JSON cannot say is refused."""
from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence, Sized
from typing import Any, TypeAlias, TypedDict, cast

import numpy as np
import numpy.typing as npt

from ._errors import InvalidRequest


Inputs: TypeAlias = npt.ArrayLike | Sequence[bytes]  # rows of numbers, or whole PNG and JPEG files


class RowOptions(TypedDict, total=False):
    """What all kinds of requests share. None, or left out: the server's default."""

    model: str | None
    version: int | None
    estimator: str | None
    draws: str | None
    weights: str | None
    num_samples: int | None
    seed: int | None
    timeout_ms: int | None  # the server's time; the client's own is an argument of the client
    priority: int | None  # in the model's queue: 1 is first
    id: str | None


class AdaptiveOptions(RowOptions, total=False):
    target_ess: int | None  # draws are added until each row has so many effective ones
    max_samples: int | None


class PredictOptions(AdaptiveOptions, total=False):
    partial: bool | None  # at its deadline: the answer by the draws that there are
    outputs: Sequence[str] | None
    quantiles: Sequence[float] | None
    interval_level: float | None
    interval_kind: str | None  # "equal_tailed", "highest_density"
    cdf: npt.ArrayLike | None  # (P) targets of one number for all rows, or (B, P)
    crps_at: npt.ArrayLike | None  # the same


class SampleOptions(RowOptions, total=False):
    num_proposals: int | None
    resample: bool | None
    refine: Mapping[str, Any] | None  # {"method": "langevin", "steps": 10, "step_length": 0.05}


class DensityOptions(AdaptiveOptions, total=False):
    targets: npt.ArrayLike | None  # (T): for all rows; (B, T): of one number each; or (B, T, D)
    grid: tuple[float, float, int] | None  # lower, upper, points
    outputs: Sequence[str] | None


class RefineOptions(TypedDict, total=False):
    model: str | None
    version: int | None
    num_samples: int | None
    seed: int | None
    timeout_ms: int | None
    priority: int | None
    id: str | None
    initial: npt.ArrayLike | None  # (S): for all rows; (B, S): of one number each; or (B, S, D)
    starts: int | None
    steps: int | None
    step_length: float | Sequence[float] | npt.NDArray[np.float64] | None  # one number, or (D)
    decay: float | None
    trajectory: bool | None


def _numbers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{name}: expected numbers in rows of one length: {error}") from error
    if array.size == 0:
        raise InvalidRequest(f"{name}: expected numbers, got none")
    if not np.isfinite(array).all():
        at = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InvalidRequest(f"{name}{at}: expected a finite number, got {array[tuple(at)]}")
    return array


def _rows(inputs: Inputs) -> list[Any]:
    """As JSON has them."""
    if isinstance(inputs, (bytes, bytearray)):
        raise InvalidRequest("inputs: one image, expected a list of them")
    if isinstance(inputs, Sequence) and len(inputs) > 0 and all(isinstance(row, (bytes, bytearray)) for row in inputs):
        return [{"b64": base64.b64encode(cast(bytes, row)).decode()} for row in inputs]
    array = _numbers("inputs", cast(npt.ArrayLike, inputs))
    if array.ndim not in (1, 2, 4):
        raise InvalidRequest("inputs: expected rows (B, X), (B) for one input, or images (B, channels, height, width), "
                             f"got {array.ndim} dimensions")
    return cast(list[Any], array.reshape(len(array), -1).tolist())


def n_rows(inputs: Inputs) -> int:
    """Of inputs that body() took."""
    return len(cast(Sized, inputs))


def _targets(name: str, values: npt.ArrayLike, n_rows: int) -> npt.NDArray[np.float64]:
    array = _numbers(name, values)
    if array.ndim == 1:
        array = np.broadcast_to(array, (n_rows, len(array)))
    if array.ndim not in (2, 3) or len(array) != n_rows:
        raise InvalidRequest(f"{name}: expected (T), ({n_rows}, T) or ({n_rows}, T, D), got {array.shape}")
    return array.reshape(*array.shape[:2], -1)


def _grid(grid: Any) -> dict[str, Any]:
    try:
        lower, upper, points = grid
    except (TypeError, ValueError):
        raise InvalidRequest(f"grid: expected (lower, upper, points), got {grid!r}") from None
    return {"lower": lower, "upper": upper, "points": points}


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays, and other sequences, as JSON has them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Sequence):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in a request")


def body(inputs: Inputs, options: Mapping[str, Any]) -> bytes:
    """The body of a request. Unknown options are refused by the server, by name."""
    rows = _rows(inputs)
    given = {name: value for name, value in options.items() if value is not None}
    fields: dict[str, Any] = {"inputs": rows}
    interval = {word: given.pop(f"interval_{word}") for word in ("kind", "level") if f"interval_{word}" in given}
    if interval:
        fields["interval"] = interval
    for name in ("targets", "initial"):
        if name in given:
            fields[name] = _targets(name, given.pop(name), len(rows)).tolist()
    if "grid" in given:
        fields["grid"] = _grid(given.pop("grid"))
    try:
        return json.dumps(fields | given, allow_nan=False, separators=(",", ":"), default=_plain).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"request: {error}") from error
