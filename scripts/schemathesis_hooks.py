"""What JSON Schema cannot say of POST /density and /refine: targets, or initial, has one list for every row of inputs, all of one
length. Valid bodies are made so before they are sent; invalid ones are left as they are."""
import schemathesis

LISTS = {"/density": "targets", "/refine": "initial"}


@schemathesis.hook
def before_call(context, case, kwargs):  # pylint: disable=unused-argument
    body, name = case.body, LISTS.get(case.path)
    if not name or not case.meta or case.meta.generation.mode.is_negative:
        return
    if not isinstance(body, dict) or not body.get(name) or not body.get("inputs"):
        return
    first = body[name][0]
    rows = [(row + first)[:len(first)] for row in body[name]]
    body[name] = (rows + [first] * len(body["inputs"]))[:len(body["inputs"])]
