#!/usr/bin/env python3
"""Writes a manual page: the template's text, and the options as the program itself lists them, so that a page cannot
tell another story than --help. make_man.py PROGRAM TEMPLATE OUTPUT

    @VERSION@    what --version says          @OPTIONS@    the options of --help
    @COMMANDS@   a section for each command of --help, with the options of COMMAND --help"""
import re
import subprocess
import sys

OPTION = re.compile(r"^  (?P<flags>--[\w-]+)(?: (?P<value>\S+))?(?: {2,}| (?=[A-Z])|$)(?P<help>.*)$")
COMMAND = re.compile(r"^  (?P<name>[a-z-]+) {2,}\S")


def tell(program, *arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


def roff(text):
    """Text as it is: nothing in it is a request, a quote or a hyphen that may be broken at."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + text if text.startswith(".") else text


def options(text):
    """The rows of a help text as tagged paragraphs."""
    pages = []
    for line in text.split("\n"):
        row = OPTION.match(line)
        if row:
            value = f" \\fI{roff(row['value'])}\\fR" if row["value"] else ""
            pages.append(f".TP\n\\fB{roff(row['flags'])}\\fR{value}\n{roff(row['help'])}")
        elif line.strip().startswith("--"):
            sys.exit(f"make_man.py: cannot read this line of --help, expected '  --option VALUE  what it does': {line!r}")
    return "\n".join(pages)


def commands(program):
    pages = []
    for row in filter(None, map(COMMAND.match, tell(program, "--help").split("\n"))):
        text = tell(program, row["name"], "--help")
        usage, _, rest = text.partition("\n\n")
        summary = rest.split("\n\n")[0].strip()
        pages.append(f".SS {roff(row['name'])}\n{roff(usage.removeprefix('usage: '))}\n.PP\n{roff(summary)}\n{options(text)}")
    if not pages:
        sys.exit(f"make_man.py: {program} --help lists no commands, expected '  NAME  what it does'")
    return "\n".join(page.rstrip("\n") for page in pages)


def main():
    program, template, output = sys.argv[1:]
    with open(template, encoding="utf-8") as file:
        page = file.read()
    page = page.replace("@VERSION@", tell(program, "--version").strip())
    if "@OPTIONS@" in page:
        page = page.replace("@OPTIONS@", options(tell(program, "--help")))
    if "@COMMANDS@" in page:
        page = page.replace("@COMMANDS@", commands(program))
    with open(output, "w", encoding="utf-8") as file:
        file.write(page)


main()
