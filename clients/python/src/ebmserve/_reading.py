"""JSON of unknown origin -> checked values and arrays. Whatever does not fit is BadAnswer, which names it; unknown members
are passed over; null in place of a number is nan."""
from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import BadAnswer

Floats = npt.NDArray[np.float64]
NUMBER = (int, float)


def bad(where: str, expected: str) -> BadAnswer:
    return BadAnswer(f"{where}: expected {expected}; is this an ebm-server?")


def object_of(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"answer: not JSON: {error}; is this an ebm-server?") from error
    if not isinstance(value, dict):
        raise bad("answer", "an object")
    return value


def member(value: Any, name: str, where: str, kinds: type | tuple[type, ...]) -> Any:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kinds) or (isinstance(found, bool) and kinds is not bool):
        raise bad(f"{where}.{name}", " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,))))
    return found


def _leaf_types(value: object, depth: int) -> set[type]:
    """The types of what lies `depth` lists deep."""
    if depth == 0 or not isinstance(value, list):
        return {type(value)}
    if depth == 1:
        return set(map(type, value))
    return set().union(*(_leaf_types(item, depth - 1) for item in value))


def array_of(where: str, value: object, ndim: int) -> Floats:
    """Numbers and nulls in lists of one shape; texts and booleans are no numbers, though numpy would take them."""
    fits = _leaf_types(value, ndim) <= {int, float, type(None)}
    try:
        array = np.array(value, dtype=np.float64) if fits else np.empty(0)
    except (TypeError, ValueError, OverflowError) as error:
        raise bad(where, "lists of one length") from error
    if array.ndim != ndim or array.size == 0:
        raise bad(where, f"numbers in {ndim} dimensions, rows counted, the same in every row")
    return array


def _stack(where: str, objects: Sequence[dict[str, Any]], name: str, ndim: int) -> Floats | None:
    if name not in objects[0]:
        return None
    if not all(name in item for item in objects):
        raise bad(f"{where}.{name}", "the member in every row")
    return array_of(f"{where}.{name}", [item[name] for item in objects], ndim)


class Rows:
    """The list of predictions, read a member at a time into arrays of all rows."""

    def __init__(self, root: dict[str, Any], n_rows: int, has_diagnostics: bool = True) -> None:
        self._rows: list[dict[str, Any]] = member(root, "predictions", "answer", list)
        if len(self._rows) != n_rows:
            raise bad("predictions", f"{n_rows} rows, got {len(self._rows)}")
        if not all(isinstance(row, dict) for row in self._rows):
            raise bad("predictions", "objects")
        self._diagnostics: list[dict[str, Any]] = [member(row, "diagnostics", f"predictions[{i}]", dict)
                                                   for i, row in enumerate(self._rows) if has_diagnostics]

    def floats(self, name: str, ndim: int) -> Floats | None:
        return _stack("predictions", self._rows, name, ndim)

    def required(self, name: str, ndim: int) -> Floats:
        array = self.floats(name, ndim)
        if array is None:
            raise bad(f"predictions.{name}", "the member")
        return array

    def diagnostic(self, name: str, ndim: int) -> Floats | None:
        """nan in rows that were answered another way, and have no such member."""
        sample = next((item[name] for item in self._diagnostics if name in item), None)
        if sample is None:
            return None
        nothing = [None] * len(sample) if isinstance(sample, list) else None
        return array_of(f"diagnostics.{name}", [item.get(name, nothing) for item in self._diagnostics], ndim)

    def members(self, name: str, kind: type) -> list[Any]:
        found = [member(row, name, "predictions", kind) for row in self._rows]
        if kind is int and not all(0 <= count < 2**63 for count in found):
            raise bad(f"predictions.{name}", "a count")
        return found

    def trajectories(self) -> tuple[Floats, ...] | None:
        if "trajectory" not in self._rows[0]:
            return None
        return tuple(array_of("predictions.trajectory", way, 2) for way in self.members("trajectory", list))

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(member(item, name, "diagnostics", str) for item in self._diagnostics)

    def words_or_none(self, name: str) -> tuple[str | None, ...]:
        found = tuple(item.get(name) for item in self._diagnostics)
        if not all(word is None or isinstance(word, str) for word in found):
            raise bad(f"diagnostics.{name}", "a text or null")
        return found

    def flags(self, name: str, otherwise: bool | None = None) -> npt.NDArray[np.bool_]:
        """`otherwise` where there is none."""
        items = self._diagnostics if otherwise is None else [{name: otherwise} | item for item in self._diagnostics]
        return np.array([member(item, name, "diagnostics", bool) for item in items], dtype=np.bool_)

    def counts(self, name: str) -> npt.NDArray[np.int64]:
        """Whole numbers; 0 where there is none."""
        found = [member({name: 0} | item, name, "diagnostics", int) for item in self._diagnostics]
        if not all(0 <= count < 2**63 for count in found):
            raise bad(f"diagnostics.{name}", "a count")
        return np.array(found, dtype=np.int64)

    def quantiles(self) -> tuple[Floats | None, Floats | None]:
        """Probabilities (Q), values (B, Q, D)."""
        if "quantiles" not in self._rows[0]:
            return None, None
        where = "predictions.quantiles"
        lists = [member(row, "quantiles", "predictions", list) for row in self._rows]
        probabilities = array_of(where, [[member(q, "probability", where, NUMBER) for q in items] for items in lists], 2)
        return probabilities[0], array_of(where, [[member(q, "value", where, list) for q in items] for items in lists], 3)

    def intervals(self) -> tuple[str, float, Floats, Floats] | None:
        """Kind, level, lower and upper (B, I, D)."""
        if "interval" not in self._rows[0]:
            return None
        where = "predictions.interval"
        objects = [member(row, "interval", "predictions", dict) for row in self._rows]
        lists = [member(item, "intervals", where, list) for item in objects]
        if not all(lists):
            raise bad(f"{where}.intervals", "at least one")
        lower, upper = (_padded(where, lists, name) for name in ("lower", "upper"))
        return member(objects[0], "kind", where, str), float(member(objects[0], "level", where, NUMBER)), lower, upper


def _padded(where: str, lists: list[list[Any]], name: str) -> Floats:
    ends = [[member(one, name, where, list) for one in items] for items in lists]
    most, gap = max(map(len, ends)), [None] * len(ends[0][0])
    return array_of(f"{where}.{name}", [row + [gap] * (most - len(row)) for row in ends], 3)


# ---- what a server has ----


def texts(root: dict[str, Any], name: str) -> tuple[str, ...] | None:
    items = root.get(name)
    return tuple(items) if isinstance(items, list) and all(isinstance(item, str) for item in items) else None


def width(root: dict[str, Any], side: str, name: str | None) -> int:
    """Numbers of a row of a tensor, the product of its shape but for the rows: the one called `name`, or the first."""
    for tensor in member(root, side, "answer", list):
        if not isinstance(tensor, dict) or (name is not None and tensor.get("name") != name):
            continue
        shape = tensor.get("shape")
        if isinstance(shape, list) and len(shape) > 1 and all(isinstance(size, int) and size > 0 for size in shape[1:]):
            return math.prod(shape[1:])
    raise bad(side, "a tensor with its shape")
