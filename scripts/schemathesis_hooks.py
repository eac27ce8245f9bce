"""What JSON Schema cannot say of POST /density, /refine and /predict: targets, initial, and cdf or crps_at as lists of lists, have
one list for every row of inputs, all of one length. Valid bodies are made so before they are sent; invalid ones are left as they are."""
import schemathesis

LISTS = {"/density": ("targets",), "/refine": ("initial",), "/predict": ("cdf", "crps_at")}


@schemathesis.hook
def before_call(context, case, kwargs):  # pylint: disable=unused-argument
    body = case.body
    if case.path not in LISTS or not case.meta or case.meta.generation.mode.is_negative:
        return
    if not isinstance(body, dict) or not body.get("inputs"):
        return
    for name in LISTS[case.path]:
        if body.get(name) and isinstance(body[name][0], list):
            first = body[name][0]
            rows = [(row + first)[:len(first)] for row in body[name]]
            body[name] = (rows + [first] * len(body["inputs"]))[:len(body["inputs"])]
