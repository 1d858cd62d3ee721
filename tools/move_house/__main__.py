# ruff: noqa
"""Move this checkout into the second house; removed by the commit that makes the move.

    python -m tools.move_house ../shared/house-moves.txt

It reads that list and `moves.txt` beside it (what the list leaves out: tests, evidence, the folders
that would have more than fourteen files), moves files and symbols, rewrites imports, names and paths
in code, tests and docs, gives the layers to `tests/test_layering.py`, wraps lines that became too
long, and runs ruff. Tried on the tree of 29 November 2026 (commit af73c12): mypy clean, every test
passed but for what `finish` mends now. Look at what it prints: symbols that are gone, modules without
a docstring. Run mypy and all tests afterwards; `tests/test_house.py` is to be added with the move.
"""

import ast, os, re, subprocess, sys
from pathlib import Path

HERE = Path(__file__).parent.resolve()
MOVES = Path(sys.argv[1]).resolve()
spec = MOVES.read_text() + "\n" + (HERE / "moves.txt").read_text()
file_moves, symbol_moves = {}, {}
for line in spec.splitlines():
    line = line.strip()
    if m := re.fullmatch(r"(\S+) moves to (\S+)", line):
        if Path(m[1]).exists():
            file_moves[m[1]] = m[2]
        else:
            print("GONE", m[1])
    elif m := re.fullmatch(r"from (\S+) to (\S+): (.*)", line):
        symbol_moves.setdefault((m[1], m[2]), []).extend(n.strip() for n in m[3].split(","))
# whole packages: everything below moves
for line in spec.splitlines():
    if m := re.fullmatch(r"\s*folder (\S+) moves to (\S+)", line):
        for f in subprocess.run(
            ["git", "ls-files", m[1]], capture_output=True, text=True
        ).stdout.split():
            file_moves.setdefault(f, m[2] + f[len(m[1]) :])


def dotted(path):
    p = path.removesuffix(".py").replace("/", ".")
    return p.removesuffix(".__init__")


module_map = {dotted(a): dotted(b) for a, b in file_moves.items() if a.endswith(".py")}
module_map = {a: b for a, b in module_map.items()}
every = [
    f
    for f in subprocess.run(
        ["git", "ls-files", "*.py"], capture_output=True, text=True
    ).stdout.split()
]
known = {dotted(f) for f in every}
# symbols are moved after the files; their source module is given by its OLD path
symbol_map = {}
for (a, b), names in symbol_moves.items():
    for n in names:
        symbol_map[dotted(a), n] = dotted(b)


def new_module(old):
    return module_map.get(old, old)


# ---- 1. move the files
for a, b in file_moves.items():
    if a == b:
        continue
    Path(b).parent.mkdir(parents=True, exist_ok=True)
# two-phase because targets may be names of existing things
tmp = {}
for i, (a, b) in enumerate(file_moves.items()):
    if a == b:
        continue
    t = f".moving/{i}"
    Path(".moving").mkdir(exist_ok=True)
    os.rename(a, t)
    tmp[t] = b
for t, b in tmp.items():
    Path(b).parent.mkdir(parents=True, exist_ok=True)
    if Path(b).exists():
        print("EXISTS", b)
    os.rename(t, b)
Path(".moving").rmdir()
from tools.move_house import rooms

docs = vars(rooms)
for b in sorted(
    {str(Path(b).parent) for b in file_moves.values()}
    | {str(Path(b).parent) for _, b in symbol_moves}
):
    p = Path(b)
    while str(p) not in (".",) and (p.parts[0] in ("sdperf", "tests", "tools", "evidence")):
        init = p / "__init__.py"
        if (
            not init.exists()
            and any(x.suffix == ".py" for x in p.iterdir()) | (p / "__init__.py").exists() | True
        ):
            if "templates" in p.parts or "fixtures" in p.parts[1:] and p.parts[0] == "tests":
                break
            if not list(p.rglob("*.py")):
                break
            text = docs["ROOMS"].get(str(p))
            if text is None and p.parts[0] == "sdperf":
                print("NO DOCSTRING", p)
            init.write_text(f'"""{text}"""\n' if text else "")
        p = p.parent
for d in sorted({str(Path(a).parent) for a in file_moves}, key=len, reverse=True):
    if Path(d).is_dir() and not [
        x
        for x in Path(d).rglob("*")
        if x.is_file() and "__pycache__" not in x.parts and x.name != "__init__.py"
    ]:
        init = Path(d) / "__init__.py"
        if init.exists():
            init.unlink()
        subprocess.run(["rm", "-rf", d])


# ---- 2. rewrite imports and names
def map_import(mod, name):
    """(module, name) imported by from-import -> (new module, new name, was module)"""
    if (mod, name) in symbol_map:
        return symbol_map[mod, name], name
    full = f"{mod}.{name}"
    if full in module_map:
        n = module_map[full]
        parent, _, leaf = n.rpartition(".")
        return parent, leaf
    return new_module(mod), name


def rewrite_imports(text):
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    edits = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and node.module
            and node.module.split(".")[0] in ("sdperf", "tests", "tools", "evidence")
        ):
            groups = {}
            for al in node.names:
                m, n = map_import(node.module, al.name)
                asname = al.asname or (al.name if n != al.name else None)
                if asname == n:
                    asname = None if al.asname is None else asname
                groups.setdefault(m, []).append(n + (f" as {asname}" if asname else ""))
            if list(groups) == [node.module] and all(
                (al.name + (f" as {al.asname}" if al.asname else "")) in groups[node.module]
                for al in node.names
            ):
                continue
            indent = " " * node.col_offset
            comment = ""
            last = lines[node.end_lineno - 1]
            tail = last.encode()[node.end_col_offset :].decode().strip()
            new = []
            for m, names in groups.items():
                if len(names) == 1 or len(f"{indent}from {m} import {', '.join(names)}") <= 100:
                    new.append(
                        f"{indent}from {m} import {', '.join(names)}"
                        + (f"  {tail}" if tail else "")
                        + "\n"
                    )
                else:
                    new.append(
                        f"{indent}from {m} import (\n"
                        + "".join(f"{indent}    {n},\n" for n in names)
                        + f"{indent})"
                        + (f"  {tail}" if tail else "")
                        + "\n"
                    )
            edits.append((node.lineno - 1, node.end_lineno, new))
        elif isinstance(node, ast.Import):
            for al in node.names:
                if al.name in module_map:
                    edits.append(
                        (
                            node.lineno - 1,
                            node.end_lineno,
                            [lines[node.lineno - 1].replace(al.name, module_map[al.name])],
                        )
                    )
    for a, b, new in sorted(edits, reverse=True):
        lines[a:b] = new
    return "".join(lines)


KEEP = {"sdperf.verdict", "sdperf.memory_mib", "sdperf.ssim", "sdperf.entropy_bit"}
names_by_len = sorted([*(f"{m}.{n}" for m, n in symbol_map), *module_map], key=len, reverse=True)
full_map = {f"{m}.{n}": f"{t}.{n}" for (m, n), t in symbol_map.items()} | module_map
name_re = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, names_by_len)) + r")(?![\w])")
path_map = {a: b for a, b in file_moves.items()}
path_re = re.compile(
    r"(?:(?<=\.\./)|(?<![\w./-]))("
    + "|".join(map(re.escape, sorted(path_map, key=len, reverse=True)))
    + r")(?![\w])"
)
folder_map = docs["FOLDERS"]
folder_re = re.compile(
    r"(?:(?<=\.\./)|(?<![\w./-]))("
    + "|".join(map(re.escape, sorted(folder_map, key=len, reverse=True)))
    + r")(?=[`/\s),.;:\"'])"
)


def rewrite_names(text, python):
    def swap(m):
        return full_map[m[1]]

    out = []
    skip = set()
    if python:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                skip |= set(range(node.lineno, node.end_lineno + 1))
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if number in skip:
            out.append(line)
            continue

        def swap_checked(m):
            if m[1] in KEEP and (line[m.start() - 1 : m.start()] in "\"'"):
                return m[1]
            return full_map[m[1]]

        line = name_re.sub(swap_checked, line)
        line = path_re.sub(lambda m: path_map[m[1]], line)
        line = folder_re.sub(lambda m: folder_map[m[1]], line)
        out.append(line)
    return "".join(out)


inverse = {b: a for a, b in file_moves.items()}
tracked = [
    str(p)
    for d in ("sdperf", "tests", "tools", "evidence", "benchmarks")
    for p in Path(d).rglob("*.py")
    if "__pycache__" not in p.parts
] + ["conftest.py"]
for f in tracked:
    p = Path(f)
    text = p.read_text()
    new = rewrite_names(rewrite_imports(text), True)
    old = inverse.get(f)
    if old:
        delta = f.count("/") - old.count("/")
        if delta:

            def deeper(m):
                return f"parents[{int(m[1]) + delta}]"

            new = re.sub(r"(?<=\(__file__\)\.)parents\[(\d+)\]", deeper, new)
            new = re.sub(r"(?<=__file__\)\.resolve\(\)\.)parents\[(\d+)\]", deeper, new)
            if re.search(r"__file__\)(\.resolve\(\))?\.(parent\b|with_name)", new):
                print("LOOK AT", f, [l.strip() for l in new.splitlines() if "__file__" in l])
    if new != text:
        p.write_text(new)
for f in subprocess.run(
    ["git", "ls-files", "*.md", "*.toml", "*.yml", ".ci/run", "Makefile", ".gitignore", "*.json"],
    capture_output=True,
    text=True,
).stdout.split():
    if (
        f.startswith(
            ("docs/results", "CHANGELOG", "tests/measure/fixtures", "sdperf/models/embedded")
        )
        and f != "docs/results/README.md"
        or not Path(f).exists()
    ):
        continue
    p = Path(f)
    text = p.read_text()
    new = rewrite_names(text, False)
    if new != text:
        p.write_text(new)


# ---- 3. move symbols
def bindings(stmt):
    if isinstance(stmt, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return [stmt.name]
    if isinstance(stmt, ast.Assign):
        return [t.id for t in stmt.targets if isinstance(t, ast.Name)]
    if isinstance(stmt, ast.AnnAssign) and isinstance(stmt.target, ast.Name):
        return [stmt.target.id]
    return []


def used(nodes):
    found = set()
    for n in nodes:
        for x in ast.walk(n):
            if isinstance(x, ast.Name):
                found.add(x.id)
            elif (
                isinstance(x, ast.Constant)
                and isinstance(x.value, str)
                and re.fullmatch(r"[\w\[\], |.]+", x.value)
            ):
                found |= set(re.findall(r"\w+", x.value))
    return found


def units_of(text):
    """top-level statements with start..end lines, docstrings and comments attached"""
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    out = []
    body = tree.body
    i = 0
    while i < len(body):
        s = body[i]
        start = min([s.lineno, *(d.lineno for d in getattr(s, "decorator_list", []))])
        end = s.end_lineno
        nodes = [s]
        while (
            i + 1 < len(body)
            and isinstance(body[i + 1], ast.Expr)
            and isinstance(body[i + 1].value, ast.Constant)
            and isinstance(body[i + 1].value.value, str)
            and bindings(s)
        ):
            i += 1
            end = body[i].end_lineno
            nodes.append(body[i])
        while start - 2 >= 0 and lines[start - 2].startswith("#"):
            start -= 1
        out.append((start - 1, end, nodes))
        i += 1
    return tree, lines, out


for (a, b), names in symbol_moves.items():
    src = Path(file_moves.get(a, a))
    dst = Path(b)
    text = src.read_text()
    tree, lines, units = units_of(text)
    names = [n for n in names]
    moving = [u for u in units if set(bindings(u[2][0])) & set(names)]
    got = {n for u in moving for n in bindings(u[2][0])}
    if set(names) - got:
        print("NOT FOUND", a, set(names) - got)
    rest = [u for u in units if u not in moving]
    imports = {}  # bound name -> statement text

    def collect(body, guard):
        for s in body:
            if isinstance(s, ast.ImportFrom):
                for al in s.names:
                    imports[al.asname or al.name] = (
                        guard,
                        f"from {'.' * s.level}{s.module or ''} import {al.name}"
                        + (f" as {al.asname}" if al.asname else ""),
                    )
            elif isinstance(s, ast.Import):
                for al in s.names:
                    imports[al.asname or al.name.split(".")[0]] = (
                        guard,
                        f"import {al.name}" + (f" as {al.asname}" if al.asname else ""),
                    )
            elif (
                isinstance(s, ast.If)
                and isinstance(s.test, ast.Name)
                and s.test.id == "TYPE_CHECKING"
            ):
                collect(s.body, True)

    collect(tree.body, False)
    src_defs = {n for u in rest for n in bindings(u[2][0])}
    need = used([n for u in moving for n in u[2]])
    src_mod, dst_mod = dotted(str(src)), dotted(str(dst))
    head = []
    guarded = []
    for n in sorted(need):
        if n in got:
            continue
        if n in imports:
            (guarded if imports[n][0] else head).append(imports[n][1])
        elif n in src_defs:
            head.append(f"from {src_mod} import {n}")
    body = ["".join(lines[s:e]) for s, e, _ in moving]
    # source: cut, and import what it still needs
    keep = lines[:]
    for s, e, _ in sorted(moving, key=lambda u: u[0], reverse=True):
        keep[s:e] = []
    back = sorted(used([n for u in rest for n in u[2]]) & got)
    newsrc = "".join(keep)

    def insert_imports(text, stmts):
        if not stmts:
            return text
        t = ast.parse(text)
        ls = text.splitlines(keepends=True)
        at = 0
        for s in t.body:
            if isinstance(s, (ast.Import, ast.ImportFrom)) or (
                isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) and s is t.body[0]
            ):
                at = s.end_lineno
        ls[at:at] = [x + "\n" for x in stmts]
        return "".join(ls)

    newsrc = insert_imports(newsrc, [f"from {dst_mod} import {n}" for n in back])
    src.write_text(newsrc)
    if dst.exists() and dst.read_text().strip():
        cur = dst.read_text()
        have = {n for u in units_of(cur)[2] for n in bindings(u[2][0])}
        cur = insert_imports(cur, [h for h in head if not (h.startswith(f"from {dst_mod} import"))])
        dst.write_text(cur.rstrip("\n") + "\n\n\n" + "\n\n".join(body))
        if guarded:
            print("GUARDED", dst, guarded)
    else:
        doc = docs["FILES"].get(b, "TODO")
        if doc == "TODO":
            print("NO DOCSTRING", b)
        future = ["from __future__ import annotations"]
        if guarded:
            head = [*head, "from typing import TYPE_CHECKING"]
        dst.parent.mkdir(parents=True, exist_ok=True)
        dst.write_text(
            f'"""{doc}"""\n\n'
            + "\n".join(future + [""] + [h for h in head if h not in future])
            + "\n"
            + ("\nif TYPE_CHECKING:\n" + "".join(f"    {g}\n" for g in guarded) if guarded else "")
            + "\n\n"
            + "\n\n".join(body)
        )
    if not [u for u in rest if bindings(u[2][0])]:
        print("EMPTY", src)


def finish():
    """Mend what no list can say."""

    def swap(path, before, after):
        p = Path(path)
        p.write_text(p.read_text().replace(before, after))

    swap(
        "tests/measure/resources/apple/test_apple_parsers.py",
        'parent / "fixtures"',
        'parents[2] / "fixtures"',
    )
    swap("pyproject.toml", '"tools/**" = ["D103"', '"{evidence,tools}/**" = ["D103"')
    for name in ("wire.py", "remote.py"):
        swap(
            "sdperf/run/hosts/interpreter.py",
            f'package / "run" / "{name}"',
            f'package / "run" / "hosts" / "{name}"',
        )
    swap(
        "tests/cli/test_doctor.py",
        "from sdperf.cli import doctor;",
        "from sdperf.cli.machine import doctor;",
    )
    swap(
        "tests/cli/test_compare_command.py",
        "from sdperf.cli import compare;",
        "from sdperf.cli.runs import compare;",
    )


def group_commands():
    """Let the command find its subcommands in their groups."""
    from pathlib import Path

    p = Path("sdperf/cli/__init__.py")
    t = p.read_text()
    a = t.index("COMMANDS: Final = (")
    b = t.index("_DESCRIPTION: Final")
    import re

    names = re.findall(r'"([\w-]+)",', t[a:b])
    runs = {"compare", "report", "replay", "figures", "export", "history", "trend", "baseline"}
    mach = {"doctor", "calibrate", "engines", "mps-check", "contribute"}
    lines = "".join(
        f'    "{n}": "{"runs." if n in runs else "machine." if n in mach else ""}{n.replace("-", "_")}",\n'
        for n in names
    )
    t = (
        t[:a]
        + "COMMANDS: Final = {\n"
        + lines
        + '}\n"""Module of each command, below this package.\n\nEach has ``add_parser(subparsers)`` and ``run(arguments) -> int``.\n"""\n\n'
        + t[b:]
    )
    t = t.replace(
        """importlib.import_module(f"sdperf.cli.{name.replace('-', '_')}")""",
        'importlib.import_module(f"sdperf.cli.{COMMANDS[name]}")',
    )
    p.write_text(t)


def wrap_lines():
    """Wrap lines of docstrings that became too long."""
    import subprocess, json, re
    from pathlib import Path

    out = subprocess.run(
        ["ruff", "check", ".", "--select", "E501", "--output-format", "json"],
        capture_output=True,
        text=True,
    ).stdout
    for e in sorted(json.loads(out), key=lambda e: (e["filename"], -e["location"]["row"])):
        p = Path(e["filename"])
        ls = p.read_text().split("\n")
        i = e["location"]["row"] - 1
        while len(ls[i]) > 100:
            cut = ls[i].rfind(" ", 0, 101)
            indent = re.match(r"\s*", ls[i])[0]
            if cut <= len(indent):
                print("CANNOT", p, i + 1)
                break
            rest = ls[i][cut + 1 :]
            ls[i] = ls[i][:cut]
            nxt = ls[i + 1] if i + 1 < len(ls) else ""
            if i and re.match(r"\s*\w+:\s", ls[i]) and re.match(r"\s*", nxt)[0] != indent:
                indent2 = indent + "    "
            else:
                indent2 = indent
            if (
                nxt.strip()
                and re.match(r"\s*", nxt)[0] == indent2
                and nxt.strip() != '"""'
                and not re.match(r"\s*\w+:\s", nxt)
            ):
                ls[i + 1] = indent2 + rest + " " + nxt.strip()
            else:
                ls.insert(i + 1, indent2 + rest)
            i += 1
        p.write_text("\n".join(ls))


finish()
subprocess.run(["ruff", "check", "--fix", "-q", "."])
subprocess.run(["ruff", "format", "-q", "."])
from pathlib import Path

p = Path("tests/test_layering.py")
t = p.read_text()
a = t.index("LAYERS = {")
b = t.index("TORCH_FREE")
t = (
    t[:a]
    + """LAYERS = {
    "errors": 0,
    "units": 0,
    "folders": 0,
    "stats": 1,
    "images": 1,
    "device": 1,
    "record": 2,
    "models": 3,
    "measure": 4,
    "pipeline": 4,
    "engines": 5,
    "mps_check": 5,
    "store": 5,
    "run": 6,
    "judging": 7,
    "ab": 8,
    "bisect": 9,
    "tune": 9,
    "report": 10,
    "plugin": 11,
    "cli": 12,
    "__main__": 13,
}
"""
    + t[b:]
)
a = t.index("TORCH_FREE = (")
b = t.index("HEAVY")
t = (
    t[:a]
    + 'TORCH_FREE = ("plugin", "cli", "report", "stats", "store", "record", "judging", "bisect", "tune")\n'
    + t[b:]
)
p.write_text(t)
wrap_lines()
group_commands()
subprocess.run(["ruff", "check", "--fix", "-q", "."])
subprocess.run(["ruff", "format", "-q", "."])
