"""prometheus_text.py - reads Prometheus' text format 0.0.4 and refuses what is not exactly that."""
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def read_labels(text):
    labels, at = {}, 0
    while text and at < len(text):
        match = LABEL.match(text, at)
        assert match, f"labels: {text}"
        name, value, _ = match.groups()
        assert name not in labels, f"{name} twice: {text}"
        labels[name] = re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), value)
        at = match.end()
    return labels


def check_histogram(name, samples):
    """Buckets ascend, do not shrink, and end with +Inf, which is the count."""
    series = {}
    for (sample, labels), value in samples.items():
        rest = frozenset(pair for pair in labels if pair[0] != "le")
        series.setdefault(rest, []).append((sample, dict(labels).get("le"), value))
    for rest, lines in series.items():
        buckets = [(float(le), value) for sample, le, value in lines if sample == name + "_bucket"]
        assert buckets == sorted(buckets) and len({le for le, _ in buckets}) == len(buckets), (name, rest, buckets)
        assert [v for _, v in buckets] == sorted(v for _, v in buckets), (name, rest, buckets)
        assert buckets[-1][0] == float("inf"), (name, rest)
        count = [value for sample, _, value in lines if sample == name + "_count"]
        total = [value for sample, _, value in lines if sample == name + "_sum"]
        assert count == [buckets[-1][1]] and len(total) == 1, (name, rest, lines)


def parse(text):
    """-> {(sample's name, frozenset of its labels): value}, {family: type}"""
    assert text.endswith("\n"), "no end of the last line"
    values, types, helped, family, own = {}, {}, set(), None, {}
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(rf"# HELP ({NAME}) (.*)", line):
            if family and types[family] == "histogram":
                check_histogram(family, own)
            family, own = match.group(1), {}
            assert family not in helped, f"{family} stands in two places"
            assert not re.search(r"\\[^\\n]", match.group(2)), line
            helped.add(family)
        elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
            assert match.group(1) == family and family not in types and not own, line
            types[family] = match.group(2)
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"not a sample: {line}"
            name, labels, value = match.groups()
            assert name in {family + suffix for suffix in SUFFIXES[types[family]]}, f"{line} below {family}"
            key = (name, frozenset(read_labels(labels).items()))
            assert key not in values, f"twice: {line}"
            values[key] = own[key] = float(value)
    assert set(types) == helped
    if family and types[family] == "histogram":
        check_histogram(family, own)
    return values, types


def counters(values, types):
    """What must never go down."""
    def family_of(name):
        return next((name[:-len(s)] for s in ("_bucket", "_sum", "_count") if name.endswith(s) and name[:-len(s)] in types), name)
    return {key: value for key, value in values.items() if types[family_of(key[0])] in ("counter", "histogram")}
