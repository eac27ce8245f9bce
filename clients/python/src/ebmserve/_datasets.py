"""Answers as labelled arrays: xarray's and ArviZ's objects where these are installed, plain dicts otherwise."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._answers import Answer, Samples

# member -> its dimensions
_DIMS = {
    "mean": ("row", "target"), "std": ("row", "target"), "variance": ("row", "target"), "median": ("row", "target"),
    "quantiles": ("row", "quantile", "target"), "log_normalizer": ("row",), "log_normalizer_std_error": ("row",),
    "samples": ("row", "draw", "target"), "log_weights": ("row", "draw"),
    "targets": ("row", "point", "target"), "unnormalized_log_prob": ("row", "point"), "log_prob": ("row", "point"),
    "proposal_log_prob": ("row", "point"),
    "covariance": ("row", "target", "other_target"), "mode": ("row", "target"), "entropy": ("row",),
    "cdf": ("row", "cdf_point"), "crps": ("row", "crps_point"),
}
_DIAGNOSTICS = {"ess": ("row",), "ess_ratio": ("row",), "max_weight": ("row",), "mcse_mean": ("row", "target"),
                "pareto_k": ("row",), "pieces": ("row",), "proper": ("row",), "acceptance_rate": ("row",),
                "reliable": ("row",), "num_samples": ("row",)}
_ENDS = ("row", "interval", "target")


def _module(name: str) -> Any | None:
    """Imported when it is needed, not before."""
    try:
        return __import__(name)
    except ImportError:
        return None


def _entry(dims: tuple[str, ...], values: Any) -> dict[str, Any]:
    return {"dims": dims, "data": values, "attrs": {}}


def _entries(source: object, table: dict[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    return {name: _entry(dims, getattr(source, name)) for name, dims in table.items() if getattr(source, name, None) is not None}


def _group(answer: Answer, variables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    sizes = {dim: size for entry in variables.values() for dim, size in zip(entry["dims"], np.shape(entry["data"]))}
    return {
        "coords": {dim: _entry((dim,), np.arange(size)) for dim, size in sizes.items()},
        "data_vars": variables,
        "attrs": {"model": answer.model, "version": answer.version, "seed": answer.seed},
        "dims": sizes,
    }


def dataset(answer: Answer) -> Any:
    variables = _entries(answer, _DIMS) | _entries(answer.diagnostics, _DIAGNOSTICS)
    interval = getattr(answer, "interval", None)
    if interval is not None:
        variables |= {"interval_lower": _entry(_ENDS, interval.lower), "interval_upper": _entry(_ENDS, interval.upper)}
    group = _group(answer, variables)
    if getattr(answer, "probabilities", None) is not None:
        group["coords"]["quantile"] = _entry(("quantile",), getattr(answer, "probabilities"))
    xarray = _module("xarray")
    return group if xarray is None else xarray.Dataset.from_dict(group)


def inference_data(answer: Samples) -> Any:
    if answer.log_weights is not None:
        raise ValueError("weighted samples are not equal draws: ask with resample=True, or use to_dataset()")
    draws = np.moveaxis(answer.samples, 0, 1)[np.newaxis]
    group = _group(answer, {"y": _entry(("chain", "draw", "row", "target"), draws)})
    xarray, arviz = _module("xarray"), _module("arviz")
    if xarray is None or arviz is None:
        return {"posterior_predictive": group}
    posterior_predictive = xarray.Dataset.from_dict(group)
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData(posterior_predictive=posterior_predictive)
    return xarray.DataTree.from_dict({"posterior_predictive": posterior_predictive})  # from ArviZ 1 on
