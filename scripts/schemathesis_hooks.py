"""What JSON Schema cannot say of POST /density, /refine and /predict: targets, initial, and cdf or crps_at as lists of lists, have
one list for every row of inputs, all of one length; and of POST .../infer: data has the size of its shape, outputs their inputs. Valid
bodies are made so before they are sent; invalid ones are left as they are. A model that was taken out comes back at once: all other
routes want one."""
import urllib.request

import schemathesis

LISTS = {"/density": ("targets",), "/refine": ("initial",), "/predict": ("cdf", "crps_at")}


OF_INPUTS = ("cdf", "crps", "unnormalized_log_prob", "log_prob", "proposal_log_prob")  # outputs that need one besides x


def make_infer(body):
    """One row of x for a model of three inputs; outputs that it can give."""
    if body.get("inputs"):
        body["inputs"] = [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.1, 0.2, 0.3]}]
    if body.get("outputs"):
        wanted = {output["name"]: output for output in body["outputs"]}  # each once
        body["outputs"] = [output for name, output in wanted.items() if name not in OF_INPUTS]
    names = [output["name"] for output in body.get("outputs", [])]
    parameters = body.get("parameters", {})
    if not {"samples", "log_weights"} & set(names):
        parameters.pop("num_proposals", None)
    if "log_weights" in names:
        for name in ("estimator", "target_ess", "max_samples"):
            parameters.pop(name, None)


@schemathesis.hook
def before_call(context, case, kwargs):  # pylint: disable=unused-argument
    body = case.body
    if case.path.endswith("/infer") and isinstance(body, dict) and case.meta and not case.meta.generation.mode.is_negative:
        make_infer(body)
    if case.path not in LISTS or not case.meta or case.meta.generation.mode.is_negative:
        return
    if not isinstance(body, dict) or not body.get("inputs"):
        return
    for name in LISTS[case.path]:
        if body.get(name) and isinstance(body[name][0], list):
            first = body[name][0]
            rows = [(row + first)[:len(first)] for row in body[name]]
            body[name] = (rows + [first] * len(body["inputs"]))[:len(body["inputs"])]


@schemathesis.hook
def after_call(context, case, response):  # pylint: disable=unused-argument
    if case.path.endswith("/unload") and response.status_code == 200:
        url = response.request.url.removesuffix("/unload") + "/load"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=20) as answer:
            answer.read()
