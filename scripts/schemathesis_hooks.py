"""What JSON Schema cannot say of POST /density: targets has one list for every row of inputs, all of one length. Valid
bodies are made so before they are sent; invalid ones are left as they are."""
import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):  # pylint: disable=unused-argument
    body = case.body
    if case.path != "/density" or not case.meta or case.meta.generation.mode.is_negative:
        return
    if not isinstance(body, dict) or not body.get("targets") or not body.get("inputs"):
        return
    first = body["targets"][0]
    rows = [(row + first)[:len(first)] for row in body["targets"]]
    body["targets"] = (rows + [first] * len(body["inputs"]))[:len(body["inputs"])]
