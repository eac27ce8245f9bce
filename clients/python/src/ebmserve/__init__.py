"""Asks an ebm-server: predictions, samples and densities of p(y given x) as numpy arrays.

    from ebmserve import Client

    with Client("http://127.0.0.1:8080") as client:
        answer = client.predict([[80]], model="geyser", quantiles=[0.05, 0.5, 0.95])
        print(answer.mean, answer.quantiles, answer.diagnostics.reliable)

`AsyncClient` has the same methods to await. Errors are subclasses of `EbmError`."""
from ._answers import Answer, Density, Diagnostics, Interval, ModelEntry, ModelInfo, Prediction, Refinement, Samples
from ._client import AsyncClient, Client
from ._errors import (AnswerTooLarge, BadAnswer, BadRequest, CallTimeout, ConnectionFailed, EbmError, InvalidRequest, NotFound,
                      NotReady, QueueFull, Refused, ServerTimeout)
from ._requests import DensityOptions, PredictOptions, RefineOptions, SampleOptions

__all__ = [
    "Answer", "AnswerTooLarge", "AsyncClient", "BadAnswer", "BadRequest", "CallTimeout", "Client", "ConnectionFailed", "Density",
    "DensityOptions", "Diagnostics", "EbmError", "Interval", "InvalidRequest", "ModelEntry", "ModelInfo", "NotFound", "NotReady",
    "PredictOptions", "Prediction", "QueueFull", "RefineOptions", "Refinement", "Refused", "SampleOptions", "Samples", "ServerTimeout",
]
__version__ = "0.1.0"
