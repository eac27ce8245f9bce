#!/usr/bin/env python3
"""Translates PTX, as nvcc writes it for our kernels, to C++ that runs on the CPU: `ptx2cpp.py IN.ptx >OUT.cpp`.

Every kernel becomes a function over ptx_run.h: registers are integers of their width, labels stay labels. Only what was
seen is translated. An instruction, a modifier or an operand that is not known here ends it with the line: nothing is
guessed."""
import re
import sys

REGISTERS = {"pred": "bool", "b16": "uint16_t", "u16": "uint16_t", "s16": "uint16_t", "b32": "uint32_t",
             "u32": "uint32_t", "s32": "uint32_t", "f32": "uint32_t", "b64": "uint64_t", "u64": "uint64_t",
             "s64": "uint64_t", "f64": "uint64_t"}
TYPES = {"f32": "float", "f64": "double", "pred": "bool"}
for bits in (8, 16, 32, 64):
    TYPES[f"u{bits}"] = TYPES[f"b{bits}"] = f"uint{bits}_t"
    TYPES[f"s{bits}"] = f"int{bits}_t"
SPECIAL = {"tid": "gpu_sim::self->index", "ctaid": "gpu_sim::block_index", "ntid": "gpu_sim::block_dim",
           "nctaid": "gpu_sim::grid_dim"}
COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">",
           "hs": ">="}
OPERATOR = {"add": "+", "sub": "-", "mul": "*", "div": "/", "rem": "%", "and": "&", "or": "|", "xor": "^"}
DIRECTED = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD", "rp": "FE_UPWARD"}
SPACES = {"global", "shared", "const", "local", "param"}


class Unknown(Exception):
    pass


def size_of(kind):
    return int(re.sub(r"\D", "", kind)) // 8


def width(kind):
    return int(re.sub(r"\D", "", kind))


def split(text):
    """Operands, at commas outside of brackets."""
    parts, depth, part = [], 0, ""
    for char in text:
        depth += (char in "{[(") - (char in "}])")
        if char == "," and not depth:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return parts + [part.strip()] if part.strip() else parts


def only(modifiers, *allowed):
    """All modifiers are ones that are known to be translated."""
    rest = [m for m in modifiers if m not in allowed]
    if rest:
        raise Unknown("modifier ." + rest[0])


class Module:
    """The variables of a file: shared memory has slots, the rest has addresses."""

    def __init__(self, text):
        self.shared, self.dynamic, self.variables = {}, set(), {}
        self.output = []
        for align, name, size in re.findall(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d+)\];", text):
            self.add_shared(name, int(size), int(align))
        for kind, name in re.findall(r"(?<!extern )\.shared\s+\.align\s+\d+\s+\.([a-z]+\d+)\s+([\w$]+);", text):
            self.add_shared(name, size_of(kind), size_of(kind))
        self.dynamic = set(re.findall(r"\.extern\s+\.shared\s+[^;]*?([\w$]+)\[\];", text))
        pattern = r"^(?:\.visible |\.weak )?\.(?:const|global)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d*)\])?\s*(?:=\s*([^;]*))?;"
        for align, kind, name, count, values in re.findall(pattern, text, re.M):
            self.add_variable(int(align or size_of(kind)), kind, name, count, values)

    def add_shared(self, name, size, align):
        if align > 16:
            raise Unknown(f"shared memory with an alignment of {align}")
        self.shared[name] = (len(self.shared) + 1, size)

    def add_variable(self, align, kind, name, count, values):
        numbers = [immediate(v, kind) for v in split(values.strip().strip("{}"))] if values else []
        raw = f"uint{width(kind)}_t"
        self.output.append(f"alignas({align}) static {raw} {name}_data[{count or 1}] = {{{', '.join(numbers)}}};")
        self.variables[name] = f"{name}_data"


def immediate(text, kind):
    """The bits of a number, as a C++ integer."""
    if re.fullmatch(r"0[fF][0-9A-Fa-f]{8}", text):
        return f"0x{text[2:]}u"
    if re.fullmatch(r"0[dD][0-9A-Fa-f]{16}", text):
        return f"0x{text[2:]}ull"
    if re.fullmatch(r"-?(\d+|0x[0-9A-Fa-f]+)U?", text):
        return f"uint64_t({text.rstrip('U')}ll)" if kind in ("u64", "s64", "b64") else f"uint32_t({text.rstrip('U')}ll)"
    raise Unknown("operand " + text)


class Kernel:
    def __init__(self, module, name, parameters, bounds):
        self.module, self.name, self.bounds = module, name, bounds
        self.registers, self.local, self.declared, self.lines, self.tables = {}, {}, [], [], {}
        self.parameters, end = {}, 0
        for align, kind, who, size in re.findall(
                r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr\s+(?:\.\w+\s+)?(?:\.align\s+\d+\s+)?)?([\w$]+)(?:\[(\d+)\])?",
                parameters):
            unit = size_of(kind)
            align, total = int(align or unit), unit * int(size or 1)
            begin = -(-end // align) * align
            self.parameters[who] = (begin, total)
            end = begin + total
        self.parameter_bytes = end

    # -- operands --

    def raw(self, text, kind):
        """Operand as an integer at least as wide as the type."""
        match = re.fullmatch(r"%(tid|ctaid|ntid|nctaid)\.([xyz])", text)
        if match:
            return f"{SPECIAL[match[1]]}.{match[2]}"
        if text == "%laneid":
            return "gpu_sim::lane()"
        if text.startswith("%"):
            if text[1:] not in self.registers:
                raise Unknown("register " + text)
            return text[1:]
        if text in self.module.shared:
            return f"uint32_t({self.module.shared[text][0]}u << ptx::SLOT_BITS)"
        if text in self.module.dynamic:
            return "ptx::DYNAMIC"
        if text in self.module.variables:
            return f"ptx::address({self.module.variables[text]})"
        if text in self.local:
            return f"ptx::address({text})"
        if text in self.parameters:  # an address among them is a number of bytes
            return f"uint64_t({self.parameters[text][0]}ull)"
        return immediate(text, kind)

    def get(self, text, kind):
        negated = text.startswith("!")
        value = self.raw(text.lstrip("!"), kind)
        return f"!{value}" if negated else f"ptx::get<{TYPES[kind]}>({value})"

    def read(self, text, kind, modifiers):
        """The same of an instruction that may take numbers below the normal ones as 0."""
        value = self.get(text, kind)
        return f"ptx::flush({value})" if "ftz" in modifiers and kind == "f32" else value

    def put(self, register, value):
        """Statement: a value of its own type into a register; a signed one is extended."""
        if register == "_":
            return f"(void)({value});"
        name = register[1:]
        if name not in self.registers:
            raise Unknown("register " + register)
        return f"{name} = ptx::put<{self.registers[name]}>({value});"

    def address(self, text):
        match = re.fullmatch(r"\[\s*([^\s+\]]+)\s*(?:\+\s*(-?\w+))?\s*\]", text)
        if not match:
            raise Unknown("address " + text)
        return match[1], match[2] or "0"

    def memory(self, text, kind, space, count, line):
        """Pointer to `count` values, checked."""
        base, offset = self.address(text)
        if base in self.parameters:
            return f"ptx::parameter<{TYPES[kind]}>(arguments, {self.parameters[base][0]} + {offset})"
        if space.startswith("param"):
            return f"ptx::parameter<{TYPES[kind]}>(arguments, {self.raw(base, 'u64')} + {offset})"
        where, slots = ("ptx::shared", "slots, ") if space == "shared" else ("ptx::plain", "")
        return f"{where}<{TYPES[kind]}, {count}>({slots}{self.raw(base, 'u64')}, {offset}, {line})"

    # -- instructions --

    def load_store(self, op, modifiers, a, line):
        kind, space, count = modifiers[-1], "", 1
        rest = []
        for m in modifiers[:-1]:
            if m in SPACES or m.startswith("param"):
                space = m
            elif m in ("v2", "v4"):
                count = int(m[1])
            else:
                rest.append(m)
        only(rest, "nc", "volatile", "relaxed", "weak", "gpu", "cta", "sys")
        if kind not in TYPES:
            raise Unknown("type ." + kind)
        memory, values = (a[1], a[0]) if op == "ld" else (a[0], a[1])
        pointer = self.memory(memory, kind, space, count, line)
        registers = split(values.strip("{}")) if values.startswith("{") else [values]
        if len(registers) != count:
            raise Unknown("vector of another length")
        out = [f"auto *p = {pointer};"]
        if space in ("global", ""):
            out.append(f"ptx::count(p, sizeof(*p) * {count}, {'true' if op == 'st' else 'false'});")
        for i, register in enumerate(registers):
            out.append(self.put(register, f"p[{i}]") if op == "ld" else f"p[{i}] = {self.get(register, kind)};")
        return " ".join(out)

    def mov(self, modifiers, a):
        kind = modifiers[-1]
        only(modifiers[:-1])
        if a[0].startswith("{"):
            parts = split(a[0].strip("{}"))
            step = width(kind) // len(parts)
            source = self.raw(a[1], kind)
            return " ".join(self.put(r, f"uint{step}_t(uint64_t({source}) >> {step * i})") for i, r in enumerate(parts))
        if a[1].startswith("{"):
            parts = split(a[1].strip("{}"))
            step = width(kind) // len(parts)
            value = " | ".join(f"uint64_t(ptx::get<uint{step}_t>({self.raw(r, kind)})) << {step * i}"
                               for i, r in enumerate(parts))
            return self.put(a[0], f"uint{width(kind)}_t({value})")
        return self.put(a[0], self.get(a[1], kind))

    def setp(self, modifiers, a):
        compare, kind = modifiers[0], modifiers[-1]
        rest = [m for m in modifiers[1:-1] if m not in ("and", "or", "xor")]
        logic = [m for m in modifiers[1:-1] if m in ("and", "or", "xor")]
        only(rest, "ftz")
        x, y = self.read(a[1], kind, rest), self.read(a[2], kind, rest)
        if compare in COMPARE:
            value = f"x {COMPARE[compare]} y"
            if compare == "ne" and kind[0] == "f":
                value = "x < y || x > y"
        elif compare in ("num", "nan"):
            value = f"{'!' if compare == 'num' else ''}(x != x || y != y)"
        elif compare[:-1] in COMPARE and compare[-1] == "u":
            value = f"x != x || y != y || x {COMPARE[compare[:-1]]} y"
        else:
            raise Unknown("comparison ." + compare)
        if logic:
            value = f"({value}) {OPERATOR[logic[0]]} {'!' if a[3].startswith('!') else ''}bool({self.raw(a[3].lstrip('!'), 'pred')})"
        targets = a[0].split("|")
        if len(targets) > 1:
            raise Unknown("setp with two targets")
        return f"auto x = {x}, y = {y}; {self.put(a[0], f'bool({value})')}"

    def shuffle(self, modifiers, a, line):
        if modifiers[0] != "sync" or modifiers[-1] != "b32" or len(modifiers) != 3:
            raise Unknown("shfl." + ".".join(modifiers))
        mode = {"up": "UP", "down": "DOWN", "bfly": "XOR", "idx": "INDEX"}[modifiers[1]]
        targets = a[0].split("|")
        out = f"bool inside; uint32_t got = ptx::shuffle({', '.join(self.get(x, 'u32') for x in a[1:5])}, " \
              f"gpu_sim::WARP_{mode}, &inside, {line}); {self.put(targets[0], 'got')}"
        if len(targets) > 1:
            out += " " + self.put(targets[1], "inside")
        return out

    def vote(self, modifiers, a, line):
        if modifiers[0] != "sync":
            raise Unknown("vote." + ".".join(modifiers))
        call = f"ptx::ballot({self.get(a[2], 'u32')}, {self.get(a[1], 'pred')}, {line})"
        if modifiers[1:] == ["ballot", "b32"]:
            return self.put(a[0], call)
        if modifiers[1:] == ["any", "pred"]:
            return self.put(a[0], f"{call} != 0")
        if modifiers[1:] == ["all", "pred"]:
            return self.put(a[0], f"{call} == {self.get(a[2], 'u32')}")
        raise Unknown("vote." + ".".join(modifiers))

    def matrix(self, modifiers, a, line):
        """wmma of fragments of 16 x 16 results, a by rows and b by columns."""
        what, operand = modifiers[0], modifiers[1]
        shape = next((m for m in modifiers if m in ("m16n16k16", "m16n16k8")), "")
        space = "shared" if "shared" in modifiers else ""
        rest = [m for m in modifiers if m not in (what, shape, space, "sync", "aligned")]
        numbers = {"m16n16k16": ("bf16", "uint16_t", "u16"), "m16n16k8": ("tf32", "float", "f32")}.get(shape)
        form = (what, *rest)
        if not numbers:
            raise Unknown("wmma." + ".".join(modifiers))
        kind, number, unit = numbers
        if form in (("load", "a", "row", kind), ("load", "b", "col", kind)):
            how = "load_rows" if operand == "a" else "load_columns"
            puts = " ".join(self.put(r, f"m.registers[{i}]") for i, r in enumerate(split(a[0].strip("{}"))))
            pointer = self.memory(a[1], unit, space, 1, line)
            return f"ptx::lane_matrix<{number}> m; m.{how}({pointer}, {self.get(a[2], 'u32')}, {line}); {puts}"
        if form == ("store", "d", "row", "f32"):
            results = ", ".join(self.get(r, "f32") for r in split(a[1].strip("{}")))
            pointer = self.memory(a[0], "f32", space, 1, line)
            return f"float d[] = {{{results}}}; ptx::store_matrix({pointer}, d, {self.get(a[2], 'u32')}, {line});"
        if form == ("mma", "row", "col", "f32", kind, kind, "f32"):
            parts = [", ".join(self.get(r, t) for r in split(x.strip("{}"))) for x, t in zip(a[1:], ("u32", "u32", "f32"))]
            puts = " ".join(self.put(r, f"c[{i}]") for i, r in enumerate(split(a[0].strip("{}"))))
            return f"ptx::lane_matrix<{number}> a = {{{{{{{parts[0]}}}}}}}, b = {{{{{{{parts[1]}}}}}}}; float c[] = {{{parts[2]}}}; " \
                   f"ptx::multiply_matrices(c, a, b, {line}); {puts}"
        raise Unknown("wmma." + ".".join(modifiers))

    def atomic(self, op, modifiers, a, line):
        kind = modifiers[-1]
        space = next((m for m in modifiers if m in SPACES), "")
        what = next((m for m in modifiers if m in ("add", "max", "min", "exch", "cas", "or", "and")), None)
        only([m for m in modifiers[:-1] if m not in (space, what)], "relaxed", "gpu", "cta", "sys")
        if op == "red":
            a = [None] + a
        pointer = self.memory(a[1], kind, space, 1, line)
        if what in ("add", "max", "min", "exch"):
            value = f"gpu_sim::atomic_{what}({pointer}, {self.get(a[2], kind)})"
        elif what == "cas":
            value = f"gpu_sim::atomic_cas({pointer}, {self.get(a[2], kind)}, {self.get(a[3], kind)})"
        else:
            raise Unknown("atom." + ".".join(modifiers))
        return f"{value};" if op == "red" else self.put(a[0], value)

    def convert(self, modifiers, a):
        source, target = modifiers[-1], modifiers[-2]
        rest = modifiers[:-2]
        only(rest, "rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "ftz", "sat")
        if source == "bf16" or target == "bf16":
            if (target, source) == ("bf16", "f32") and rest == ["rn"]:
                return self.put(a[0], f"ptx::to_bfloat16({self.get(a[1], 'f32')})")
            if (target, source) == ("f32", "bf16"):
                return self.put(a[0], f"ptx::from_bfloat16({self.get(a[1], 'u16')})")
            raise Unknown("cvt." + ".".join(modifiers))
        value = self.read(a[1], source, rest)
        if {"rz", "rm", "rp"} & set(rest):
            raise Unknown("cvt." + ".".join(modifiers))
        if "sat" in rest:
            if (target, source) != ("f32", "f32"):
                raise Unknown("cvt." + ".".join(modifiers))
            value = f"ptx::saturate({value})"
        rounding = next((m for m in rest if m.endswith("i")), None)
        if rounding:
            value = f"ptx::round_{rounding}({value})"
        if source[0] == "f" and target[0] in "us":
            if not rounding:
                raise Unknown("cvt." + ".".join(modifiers))
            value = f"ptx::to_integer<{TYPES[target]}>({value})"
        else:
            value = f"{TYPES[target]}({value})"
        return self.put(a[0], self.flush(rest, value))

    def flush(self, modifiers, value):
        return f"ptx::flush({value})" if "ftz" in modifiers else value

    def arithmetic(self, op, modifiers, a):
        kind = modifiers[-1]
        rest = modifiers[:-1]
        x = [self.read(v, kind, rest) for v in a[1:]]
        if kind[0] == "f":
            mode = next((DIRECTED[m] for m in rest if m in DIRECTED), None)
            if mode and op in ("add", "sub") and kind == "f32":
                only(rest, "ftz", *DIRECTED)
                return self.put(a[0], self.flush(rest, f"ptx::directed({mode}, {x[0]}, 1.0f, {'-' * (op == 'sub')}{x[1]})"))
            only(rest, "rn", "ftz", *(("approx", "full") if op == "div" else ()))
            if op in ("and", "or", "xor", "rem"):
                raise Unknown(op + "." + kind)
            value = f"{x[0]} {OPERATOR[op]} {x[1]}"
            if "approx" in rest or "full" in rest:
                value = f"gpu_sim::approximate({f'ptx::rough_quotient({x[0]}, {x[1]})' if 'approx' in rest else value}, true)"
            return self.put(a[0], self.flush(rest, value))
        if op == "mul" and "wide" in rest:
            only(rest, "wide")
            wide = TYPES[kind[0] + str(2 * width(kind))]
            return self.put(a[0], f"{wide}({wide}({x[0]}) * {wide}({x[1]}))")
        if op == "mul" and "hi" in rest:
            only(rest, "hi")
            return self.put(a[0], f"ptx::high({x[0]}, {x[1]})")
        only(rest, *(("lo",) if op == "mul" else ()))
        if kind == "pred":
            return self.put(a[0], f"bool({x[0]} {OPERATOR[op]} {x[1]})")
        if op in ("div", "rem"):
            return self.put(a[0], f"{TYPES[kind]}({x[0]} {OPERATOR[op]} {x[1]})")
        plain = "b" + str(width(kind))  # no overflow of signed numbers
        y = [self.get(v, plain) for v in a[1:]]
        return self.put(a[0], f"{TYPES[kind]}({TYPES[plain]}({y[0]} {OPERATOR[op]} {y[1]}))")

    def multiply_add(self, op, modifiers, a):
        kind, rest = modifiers[-1], modifiers[:-1]
        if kind[0] == "f":
            mode = next((DIRECTED[m] for m in rest if m in DIRECTED), None)
            only(rest, "rn", "ftz", *DIRECTED)
            value = f"ptx::{'directed' if mode else 'fused'}({', '.join([mode] * bool(mode) + [self.read(v, kind, rest) for v in a[1:4]])})"
            return self.put(a[0], self.flush(rest, value))
        if op == "fma":
            raise Unknown("fma." + kind)
        only(rest, "lo", "wide", "hi")
        if "wide" in rest:
            wide = TYPES[kind[0] + str(2 * width(kind))]
            x = [self.get(v, kind) for v in a[1:3]]
            return self.put(a[0], f"{wide}({wide}({x[0]}) * {wide}({x[1]}) + {self.get(a[3], kind[0] + str(2 * width(kind)))})")
        if "hi" in rest:
            return self.put(a[0], f"{TYPES[kind]}(ptx::high({self.get(a[1], kind)}, {self.get(a[2], kind)}) + {self.get(a[3], kind)})")
        plain = "b" + str(width(kind))
        x = [self.get(v, plain) for v in a[1:4]]
        return self.put(a[0], f"{TYPES[kind]}({TYPES[plain]}({x[0]} * {x[1]} + {x[2]}))")

    def function(self, op, modifiers, a):
        """Functions of one number."""
        kind, rest = modifiers[-1], modifiers[:-1]
        x = self.read(a[1], kind, rest)
        exact = {"sqrt": "ptx::root", "rcp": "1 /", "neg": "-", "abs": "ptx::magnitude"}
        rough = {"ex2": ("exp2f", "true"), "lg2": ("log2f", "false"), "sin": ("sinf", "false"), "cos": ("cosf", "false"),
                 "rsqrt": ("1 / sqrtf", "true"), "rcp": ("1 /", "true"), "sqrt": ("sqrtf", "true")}
        if "approx" in rest:
            only(rest, "approx", "ftz")
            if (op, kind) == ("rcp", "f64"):
                return self.put(a[0], f"ptx::rough_reciprocal({x})")
            if (op, kind, rest) == ("tanh", "f32", ["approx"]):
                return self.put(a[0], f"gpu_sim::approximate_tanh({x})")
            if op not in rough or kind != "f32":
                raise Unknown(op + "." + ".".join(modifiers))
            name, relative = rough[op]
            return self.put(a[0], self.flush(rest, f"gpu_sim::approximate({name}({x}), {relative})"))
        only(rest, "rn", "ftz")
        if op not in exact or (kind[0] != "f" and op not in ("neg", "abs")):
            raise Unknown(op + "." + ".".join(modifiers))
        if kind[0] == "s":
            return self.put(a[0], f"{TYPES[kind]}({'ptx::magnitude' if op == 'abs' else '-'}({x}))")
        return self.put(a[0], self.flush(rest, f"{TYPES[kind]}({exact[op]}({x}))"))

    def bits(self, op, modifiers, a):
        kind = modifiers[-1]
        x = [self.get(v, kind) for v in a[1:4]]
        if op in ("shl", "shr"):
            only(modifiers[:-1])
            return self.put(a[0], f"ptx::{'left' if op == 'shl' else 'right'}({x[0]}, {self.get(a[2], 'u32')})")
        if op == "shf":
            only(modifiers[:-1], "l", "r", "wrap", "clamp")
            side, how = modifiers[0], modifiers[1]
            return self.put(a[0], f"ptx::funnel_{side}_{how}({', '.join(x)})")
        if op == "not":
            return self.put(a[0], f"!{x[0]}" if kind == "pred" else f"{TYPES[kind]}(~{x[0]})")
        if op in ("popc", "clz", "brev"):
            return self.put(a[0], f"ptx::{op}({x[0]})")
        if op == "prmt":
            only(modifiers[:-1])
            return self.put(a[0], f"ptx::permute({', '.join(x)})")
        if op == "bfe":
            return self.put(a[0], f"ptx::extract({x[0]}, {self.get(a[2], 'u32')}, {self.get(a[3], 'u32')})")
        if op == "bfi":
            return self.put(a[0], f"ptx::insert({x[0]}, {x[1]}, {self.get(a[3], 'u32')}, {self.get(a[4], 'u32')})")
        if op == "lop3":
            return self.put(a[0], f"ptx::logic({', '.join(x[:3])}, {self.get(a[4], 'u32')})")
        raise Unknown(op)

    def instruction(self, name, a, line):
        """C++ statements for one instruction."""
        op, *modifiers = name.split(".")
        if op in ("ld", "st"):
            return self.load_store(op, modifiers, a, line)
        if op == "mov":
            return self.mov(modifiers, a)
        if op == "cvta":
            only(modifiers[:-1], "to", "global", "shared", "local", "const", "param")
            if "shared" in modifiers:
                way = "from_generic" if "to" in modifiers else "to_generic"
                return self.put(a[0], f"ptx::{way}(slots, {self.raw(a[1], 'u64')})")
            return self.put(a[0], self.get(a[1], modifiers[-1]))
        if op == "setp":
            return self.setp(modifiers, a)
        if op == "selp":
            only(modifiers[:-1])
            return self.put(a[0], f"{self.get(a[3], 'pred')} ? {self.get(a[1], modifiers[-1])} : {self.get(a[2], modifiers[-1])}")
        if name in ("bar.sync", "barrier.sync", "barrier.sync.aligned") and a == ["0"]:
            return f"gpu_sim::sync_block(ptx::FILE, {line});"
        if name == "bar.warp.sync":
            return f"gpu_sim::warp_exchange({self.get(a[0], 'u32')}, 0, gpu_sim::WARP_SYNC, ptx::FILE, {line});"
        if op == "shfl":
            return self.shuffle(modifiers, a, line)
        if op == "vote":
            return self.vote(modifiers, a, line)
        if op == "wmma":
            return self.matrix(modifiers, a, line)
        if op in ("atom", "red"):
            return self.atomic(op, modifiers, a, line)
        if op in ("membar", "fence"):
            return "__atomic_thread_fence(__ATOMIC_SEQ_CST);"
        if op == "cvt":
            return self.convert(modifiers, a)
        if op in OPERATOR:
            return self.arithmetic(op, modifiers, a)
        if op in ("fma", "mad"):
            return self.multiply_add(op, modifiers, a)
        if op in ("min", "max"):
            only(modifiers[:-1], "ftz")
            kind = modifiers[-1]
            return self.put(a[0], self.flush(modifiers, f"ptx::{op}imum({self.read(a[1], kind, modifiers)}, {self.read(a[2], kind, modifiers)})"))
        if op == "copysign":
            kind = modifiers[-1]
            return self.put(a[0], f"ptx::copy_sign({self.get(a[1], kind)}, {self.get(a[2], kind)})")
        if op in ("ex2", "lg2", "sin", "cos", "sqrt", "rsqrt", "rcp", "tanh", "neg", "abs"):
            return self.function(op, modifiers, a)
        if op in ("shl", "shr", "shf", "not", "popc", "clz", "brev", "prmt", "bfe", "bfi", "lop3"):
            return self.bits(op, modifiers, a)
        if op == "trap":
            return f'gpu_sim::fail("line {line} of the PTX: trap");'
        raise Unknown("instruction " + name)

    # -- lines --

    def declare(self, text):
        match = re.fullmatch(r"\.reg\s+\.(\w+)\s+%(\w+)<(\d+)>;", text)
        if match:
            names = [f"{match[2]}{i}" for i in range(int(match[3]))]
        else:
            match = re.fullmatch(r"\.reg\s+\.(\w+)\s+%(\w+);", text)
            if not match:
                raise Unknown(text)
            names = [match[2]]
        kind = REGISTERS[match[1]]
        if all(self.registers.get(n) == kind for n in names):
            return  # a block's own, of the same name as another block's
        self.registers.update((n, kind) for n in names)
        self.declared.append(f"    {kind} {', '.join(n + ' = 0' for n in names)};")  # before any label

    def branch(self, name, operands):
        if name in ("bra", "bra.uni"):
            return f"goto {label(operands)};"
        if name in ("ret", "exit", "ret.uni"):
            return "return;"
        if name in ("brx.idx", "brx.idx.uni"):
            index, table = split(operands)
            cases = " ".join(f"case {i}: goto {label(t)};" for i, t in enumerate(self.tables[table]))
            return f"switch ({self.raw(index, 'u32')}) {{ {cases} default: gpu_sim::fail(\"a branch beyond its table\"); }}"
        return None

    def line(self, text, number):
        if text in ("{", "}"):  # the scope of a register; no label lies in it
            self.lines.append("    " + text)
            return None
        if text.startswith(".reg"):
            return self.declare(text)
        if text.startswith((".loc\t", ".loc ", ".pragma", ".shared", ".file")) or re.fullmatch(r"[\w$]+:\s*\.branchtargets.*", text):
            return None
        match = re.fullmatch(r"\.local\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d+)\];", text)
        if match:
            self.local[match[2]] = int(match[3])
            self.lines.append(f"    alignas({match[1]}) uint8_t {match[2]}[{match[3]}]; memset({match[2]}, 0xff, sizeof({match[2]}));")
            return None
        match = re.fullmatch(r"([\w$]+):", text)
        if match:
            self.lines.append(f"{label(match[1])}:;")
            return None
        match = re.fullmatch(r"(?:@(!?)%(\w+)\s+)?([\w.:]+)\s*(.*);", text)
        if not match:
            raise Unknown(text)
        condition = f"if ({match[1]}{match[2]}) " if match[2] else ""
        jump = self.branch(match[3], match[4])
        statement = jump or self.instruction(match[3], split(match[4]), number)
        self.lines.append(f"    {condition}{{ {statement} }}")
        return None

    def translate(self, body, first):
        for name, targets in re.findall(r"^\s*([\w$]+):\s*\.branchtargets\s+([^;]*);", body, re.M):
            self.tables[name] = split(targets)
        for i, text in enumerate(body.split("\n")):
            text = text.strip()
            if text.startswith("{"):
                text = text[1:].strip()  # a block: its registers are declared once
            if text.endswith("}"):
                text = text[:-1].strip()
            if not text:
                continue
            try:
                self.line(text, first + i)
            except Unknown as error:
                sys.exit(f"line {first + i}: {text}\n  {error} is not known")

    def text(self):
        sizes = ", ".join(f"{{{begin}, {size}}}" for begin, size in self.parameters.values())
        name = self.name
        return (f"static void {name}_run(const unsigned char *arguments)\n{{\n    (void)arguments;\n"
                + "\n".join(self.declared + self.lines)
                + f"\n}}\nstatic const ptx::kernel {name}_entry{{\"{name}\", {name}_run, {{{sizes}}}, {self.bounds}}};\n")


def label(text):
    return "L_" + text.strip().replace("$", "_")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = re.sub(r"//[^\n]*", "", file.read())
    try:
        module = Module(text)
    except Unknown as error:
        sys.exit(f"{sys.argv[1]}: {error} is not known")
    if re.search(r"^\.(visible )?\.?func\b", text, re.M):
        sys.exit("a function that is called is not known")
    print('#include "tests/gpu_sim/ptx_run.h"\n')
    print(f"static const ptx::shared_slots slots{{{{{', '.join(str(size) for _, size in module.shared.values())}}}}};")
    print("\n".join(module.output))
    for m in re.finditer(r"\.entry\s+([\w$]+)\s*\((.*?)\)([^{]*)\{(.*?)^\}", text, re.S | re.M):
        bound = re.search(r"\.maxntid\s+(\d+)", m[3])
        kernel = Kernel(module, m[1], m[2], bound[1] if bound else "1024")
        kernel.translate(m[4], text[:m.start(4)].count("\n") + 1)
        print(kernel.text())


main()
