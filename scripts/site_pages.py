"""Pages of the site that the programs write themselves, so that they cannot differ from them: options from --help, the
schema from /openapi.json. A hook of MkDocs. EBM_BUILD names the build folder (default: build). A page that stands in
docs/ under the same name goes first."""
import json
import os
import re
import subprocess
import sys

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("EBM_BUILD", "build"))
SERVER = os.path.join(BUILD, "server", "ebm-server")
TRAINER = os.path.join(BUILD, "trainer", "ebm-trainer")
OPTION = re.compile(r"^  (--\S+)(?: (\S+))?\s{2,}(.*)$")
BOUNDS = re.compile(r"^(.*) \[(.*)\]$")

sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from harness import Repository, Server  # noqa: E402


def say(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def code(value):
    return f"`{value}`"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def options(text):
    """The lines of a help text that describe an option: its name, its value, what it does."""
    return [match.groups() for match in map(OPTION.match, text.splitlines()) if match]


def server_options():
    rows = []
    for name, value, text in options(say(SERVER, "--help")):
        bounds = BOUNDS.match(text)
        rows.append([code(f"{name} {value}" if value else name), cell(bounds.group(1) if bounds else text),
                     cell(bounds.group(2)) if bounds else ""])
    return ("# Options of the server\n\nWhat `ebm-server --help` says. A whole number stands where N stands; a number "
            "out of its bounds is refused at the start.\n\n" + table(["option", "meaning", "default; bounds"], rows))


def trainer_options():
    pages = ["# Options of the trainer\n\nWhat `ebm-trainer COMMAND --help` says. The keys of the training "
             "configuration are in [Model files](MODEL_FORMAT.md#the-training-configuration).\n"]
    for command in re.findall(r"^  (\w+)  ", say(TRAINER, "--help"), re.MULTILINE):
        usage, _, rest = say(TRAINER, command, "--help").partition("\n")
        about = rest.split("options\n")[0].strip()
        rows = [[code(f"{name} {value}" if value else name), cell(text)] for name, value, text in options(rest)]
        pages.append(f"## {command}\n\n    {usage.removeprefix('usage: ')}\n\n{cell(about)}\n")
        if rows:
            pages.append(table(["option", "meaning"], rows))
    return "\n".join(pages)


def kind(schema):
    """What a value may be, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(code(word) for word in schema["enum"])
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    if "anyOf" in schema:
        return " or ".join(kind(one) for one in schema["anyOf"])
    types = schema.get("type", "anything")
    if isinstance(types, list):
        return " or ".join(types)
    if types == "array":
        items = kind(schema.get("items", {}))
        return f"list of ({items})" if " or " in items else f"list of {items}"
    return types


BOUND_WORDS = {"minimum": "at least {}", "exclusiveMinimum": "above {}", "minItems": "at least {} items",
               "minLength": "at least {} characters", "maximum": "at most {}", "exclusiveMaximum": "below {}",
               "maxItems": "at most {} items", "maxLength": "at most {} characters"}


def bounds(schema):
    said = [words.format(schema[key]) for key, words in BOUND_WORDS.items() if key in schema]
    return ", ".join(said + ([f"default {code(json.dumps(schema['default']))}"] if "default" in schema else []))


def fields(schema, path=""):
    """A row for every field, those of objects inside by their path."""
    for name, one in schema.get("properties", {}).items():
        where = path + name
        need = " (required)" if name in schema.get("required", []) else ""
        yield [code(where) + need, kind(one), bounds(one), cell(one.get("description", ""))]
        inner = one.get("items", {}) if one.get("type") == "array" else one
        yield from fields(inner, where + ("[]." if inner is not one else "."))


def schema():
    repository = Repository().golden("relu_1d").golden("mixture_only")  # two, so that no size of one model is told
    server = Server(SERVER, repository)
    try:
        status, _, body = server.ask("GET", "/openapi.json")
        if status != 200:
            raise PluginError(f"GET /openapi.json: expected status 200, got {status}: {body[:200]!r}")
    finally:
        server.stop()
        repository.remove()
    description = json.loads(body)
    rows = [[code(f"{method.upper()} {path}"), cell(operation["summary"]),
             ", ".join(sorted(operation["responses"]))]
            for path, methods in description["paths"].items() for method, operation in methods.items()]
    text = ("# Schema\n\nThe tables behind `GET /openapi.json` of a server with its default options. "
            "[The HTTP interface](API.md) explains them.\n\n" + table(["route", "what it answers", "statuses"], rows))
    for name, one in description["components"]["schemas"].items():
        rows = list(fields(one))
        if rows:
            text += f"\n## {name}\n\n" + table(["field", "type", "bounds", "meaning"], rows)
    return text


def anchor(title, separator):
    """As code hosts make them, so that a link to a heading works here and there: of 'GET /' 'get-'."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", separator)


def on_config(config):
    config["mdx_configs"]["toc"]["slugify"] = anchor
    return config


def on_files(files, config):
    for program in (SERVER, TRAINER):
        if not os.access(program, os.X_OK):
            raise PluginError(f"{program}: expected a program, which writes its page: ninja -C {BUILD}")
    for name, write in (("OPTIONS.md", server_options), ("trainer-options.md", trainer_options), ("schema.md", schema)):
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, content=write()))
    return files
