"""What a server answers, as dataclasses of arrays; _reading.py fills them.

B rows, D target dimensions, Q quantiles, I intervals, M samples, T targets. None: not asked for."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _datasets
from ._reading import Rows, bad, member, object_of, texts, width

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Diagnostics:
    estimator: tuple[str, ...]  # (B) "exact", "quadrature", "importance", "mixture"
    reliable: npt.NDArray[np.bool_]  # (B)
    reason: tuple[str | None, ...]  # (B) None: none
    num_samples: npt.NDArray[np.int64]  # (B) draws; 0: nothing was drawn, and what follows is None
    ess: Floats | None  # (B)
    ess_ratio: Floats | None  # (B)
    max_weight: Floats | None  # (B)
    mcse_mean: Floats | None  # (B, D)
    acceptance_rate: Floats | None  # (B) of samples that moved
    pareto_k: Floats | None  # (B) nan where the tail has no fit
    pieces: Floats | None  # (B) that were integrated; nan in rows that were not
    support: Floats | None  # (B, 2) ends of what was integrated; nan: without end
    proper: npt.NDArray[np.bool_]  # (B) False: only recorded bounds make the integral finite


@dataclass(frozen=True)
class Interval:
    kind: str
    level: float
    lower: Floats  # (B, I, D) nan where a row has fewer than I
    upper: Floats  # of an angle below lower where the interval runs over the seam


@dataclass(frozen=True)
class Answer:
    model: str
    version: int
    seed: int
    id: str | None
    diagnostics: Diagnostics

    def to_dataset(self) -> Any:
        """An xarray.Dataset; without xarray the dict that xarray.Dataset.from_dict reads."""
        return _datasets.dataset(self)


@dataclass(frozen=True)
class Prediction(Answer):
    mean: Floats | None  # (B, D)
    std: Floats | None
    variance: Floats | None
    median: Floats | None
    probabilities: Floats | None  # (Q)
    quantiles: Floats | None  # (B, Q, D)
    interval: Interval | None
    log_normalizer: Floats | None  # (B)
    covariance: Floats | None  # (B, D, D)
    mode: Floats | None  # (B, D)
    entropy: Floats | None  # (B) nats
    cdf: Floats | None  # (B, P)
    crps: Floats | None  # (B, P)


@dataclass(frozen=True)
class Samples(Answer):
    samples: Floats  # (B, M, D)
    log_weights: Floats | None  # (B, M) with resample=False; their exponentials sum to 1 in each row

    def to_inference_data(self) -> Any:
        """For ArviZ: samples as the group posterior_predictive, one chain of M draws; without ArviZ a dict of groups, each
        as to_dataset() gives it. Weighted samples are refused: ArviZ would take them for equal."""
        return _datasets.inference_data(self)


@dataclass(frozen=True)
class Density(Answer):
    targets: Floats  # (B, T, D)
    unnormalized_log_prob: Floats | None  # (B, T)
    log_prob: Floats | None
    proposal_log_prob: Floats | None
    log_normalizer: Floats | None  # (B)
    log_normalizer_std_error: Floats | None


@dataclass(frozen=True)
class Refinement:
    model: str
    version: int
    seed: int
    id: str | None
    mode: Floats  # (B, D)
    unnormalized_log_prob: Floats  # (B) at the mode
    converged: npt.NDArray[np.bool_]  # (B)
    steps: npt.NDArray[np.int64]  # (B)
    trajectory: tuple[Floats, ...] | None  # (B) of (steps + 1, D)


@dataclass(frozen=True)
class ModelEntry:
    name: str
    version: int
    available: bool
    reason: str | None


@dataclass(frozen=True)
class ModelInfo:
    name: str
    versions: tuple[str, ...]
    n_inputs: int
    n_targets: int
    input_names: tuple[str, ...] | None
    target_names: tuple[str, ...] | None


def _diagnostics(rows: Rows) -> Diagnostics:
    return Diagnostics(
        estimator=rows.words("estimator"), reliable=rows.flags("reliable"), reason=rows.words_or_none("reason"),
        num_samples=rows.counts("num_samples"), ess=rows.diagnostic("ess", 1), ess_ratio=rows.diagnostic("ess_ratio", 1),
        max_weight=rows.diagnostic("max_weight", 1), mcse_mean=rows.diagnostic("mcse_mean", 2),
        acceptance_rate=rows.diagnostic("acceptance_rate", 1),
        pareto_k=rows.diagnostic("pareto_k", 1), pieces=rows.diagnostic("pieces", 1), support=rows.diagnostic("support", 2),
        proper=rows.flags("proper", True))


def _identity(root: dict[str, Any]) -> dict[str, Any]:
    identity = root.get("id")
    return {
        "model": member(root, "model", "answer", str),
        "version": member(root, "version", "answer", int),
        "seed": member(root, "seed", "answer", int),
        "id": identity if isinstance(identity, str) else None,
    }


def _head(body: bytes, n_rows: int) -> tuple[dict[str, Any], Rows]:
    root = object_of(body)
    rows = Rows(root, n_rows)
    return _identity(root) | {"diagnostics": _diagnostics(rows)}, rows


def _interval(rows: Rows) -> Interval | None:
    found = rows.intervals()
    return None if found is None else Interval(*found)


def prediction(body: bytes, n_rows: int) -> Prediction:
    head, rows = _head(body, n_rows)
    probabilities, quantiles = rows.quantiles()
    answer = Prediction(
        **head, mean=rows.floats("mean", 2), std=rows.floats("std", 2), variance=rows.floats("variance", 2),
        median=rows.floats("median", 2), probabilities=probabilities, quantiles=quantiles, interval=_interval(rows),
        log_normalizer=rows.floats("log_normalizer", 1), covariance=rows.floats("covariance", 3), mode=rows.floats("mode", 2),
        entropy=rows.floats("entropy", 1), cdf=rows.floats("cdf", 2), crps=rows.floats("crps", 2))
    vectors = (answer.mean, answer.std, answer.variance, answer.median, quantiles, answer.mode, answer.covariance,
               answer.diagnostics.mcse_mean)
    if len({array.shape[-1] for array in vectors if array is not None}) > 1:
        raise bad("predictions", "members with one number of target dimensions")
    return answer


def samples(body: bytes, n_rows: int) -> Samples:
    head, rows = _head(body, n_rows)
    return Samples(**head, samples=rows.required("samples", 3), log_weights=rows.floats("log_weights", 2))


def density(body: bytes, n_rows: int) -> Density:
    head, rows = _head(body, n_rows)
    return Density(
        **head, targets=rows.required("targets", 3), unnormalized_log_prob=rows.floats("unnormalized_log_prob", 2),
        log_prob=rows.floats("log_prob", 2), proposal_log_prob=rows.floats("proposal_log_prob", 2),
        log_normalizer=rows.floats("log_normalizer", 1), log_normalizer_std_error=rows.floats("log_normalizer_std_error", 1))


def refinement(body: bytes, n_rows: int) -> Refinement:
    root = object_of(body)
    rows = Rows(root, n_rows, has_diagnostics=False)
    answer = Refinement(
        **_identity(root), mode=rows.required("mode", 2), unnormalized_log_prob=rows.required("unnormalized_log_prob", 1),
        converged=np.array(rows.members("converged", bool), dtype=np.bool_),
        steps=np.array(rows.members("steps", int), dtype=np.int64), trajectory=rows.trajectories())
    if answer.trajectory is not None:
        expected = [(steps + 1, answer.mode.shape[1]) for steps in answer.steps.tolist()]
        if [way.shape for way in answer.trajectory] != expected:
            raise bad("predictions.trajectory", "one place more than steps in every row")
    return answer


def models(body: bytes) -> list[ModelEntry]:
    entries = []
    for item in member(object_of(body), "models", "answer", list):
        entry = ModelEntry(member(item, "name", "models", str), member(item, "version", "models", int),
                           member(item, "available", "models", bool), item.get("reason"))
        entries.append(entry)
    return entries


def model(body: bytes) -> ModelInfo:
    root = object_of(body)
    return ModelInfo(member(root, "name", "answer", str), texts(root, "versions") or (), width(root, "inputs", None),
                     width(root, "outputs", "mean"), texts(root, "input_names"), texts(root, "target_names"))


def is_true(body: bytes, name: str) -> bool:
    if object_of(body).get(name) is not True:
        raise bad(name, "true")
    return True
