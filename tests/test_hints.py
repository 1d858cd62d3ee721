"""Each command and option that a message of the package names is held against the real parsers.

Collected are all texts of the package but docstrings. A command line in one (``sdperf COMMAND``,
``pytest``, another program) reaches to the end of its phrase; the options in it belong to it. An
option that stands alone has to exist in the command in whose file it stands, or anywhere where
the file belongs to no command. None stands alone in what ``judging`` says: sessions and commands
show it.
"""

import argparse
import ast
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import sdperf
from sdperf import settings
from sdperf.cli import COMMANDS
from tests.test_help import PARSERS

PACKAGE = Path(sdperf.__file__).parent
OPTION = re.compile(r"(?<![\w-])(?<!var\()--[a-z][a-z-]*[a-z](?![a-zA-Z{-])")
PROGRAMS = re.compile(
    r"(?<![\w./-])(sdperf|pytest|bencher|docker|git|pip|dask|hf|python|powermetrics|taskpolicy)"
    r"(?= |$)"
)
PHRASE_ENDS = re.compile(r"[;:)](?= |$)|, or |, then| or |\n(?!\s+--)|(?<!\\)\n|   ")
_VERBS = """
can cannot does found has have in is itself need of keeps know knows lacks loads makes measures
needs on opens and record refuses rows run runs said serves session sets to wrote version wheel
with read reads calls took takes was warns writes shows says asks or
"""
VERBS = frozenset(_VERBS.split())
"""What follows ``sdperf`` where it is the subject of a sentence and no command line."""

_OF_OTHER_PROGRAMS = """
--abbrev --absolute-git-dir --all --always --cache-dir --cached --cert --client-cert --codspeed
--detach --dirty --disable-pip-version-check --end-of-options --exclude --extra-index-url
--find-links --first-parent --force --force-reinstall --format --git-path --ignore-submodules
--index-url --is-bare-repository --is-shallow-repository --isolated --max-count --name-status
--no-binary --no-commit-id --no-index --no-input --no-optional-locks --no-pager --no-walk
--nthreads --nworkers
--oneline --only-binary --parents --porcelain --port --pre --progress-bar --proxy --quiet --retries
--reverse --root --samplers --show-toplevel --stage --tags --topo-order --trusted-host --unshallow
--upgrade --verify --without-pip
"""
OF_OTHER_PROGRAMS = frozenset(_OF_OTHER_PROGRAMS.split())
"""Options that git, pip, venv, dask, docker and programs of macOS are called with."""


@dataclass(frozen=True)
class Text:
    """A text of the package: what a placeholder stands for is ``{}``."""

    file: str
    line: int
    text: str


def collect_texts(source, file):
    """Return every text of a module that is no docstring."""
    nodes = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr | ast.JoinedStr | ast.Constant)
    ]
    left_out = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            left_out |= {id(part) for part in node.values}
    for node in nodes:
        if id(node) in left_out:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [fill_part(part) for part in node.values]
            yield Text(file, node.lineno, "".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(file, node.lineno, node.value)


def fill_part(part):
    """Return a part of a formatted text; a setting that is named by its constant as its option."""
    if isinstance(part, ast.Constant):
        return part.value
    value, is_flag = part.value, False
    if isinstance(value, ast.Attribute) and value.attr == "flag":
        value, is_flag = value.value, True
    name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    found = vars(settings).get(name)
    if not isinstance(found, settings.kinds.Setting):
        return "{}"
    return found.flag if is_flag else str(found)


@cache
def collect_package():
    return [
        text
        for path in sorted(PACKAGE.rglob("*.py"))
        # The adapters are programs of their own, with options of their own.
        if path.parent.name != "adapters" and path.name != "__main__.py"
        for text in collect_texts(path.read_text("utf-8"), path.relative_to(PACKAGE).as_posix())
    ]


def list_options(parser):
    return {option for action in parser._actions for option in action.option_strings}


@pytest.fixture(scope="module")
def known(request):
    """The options of ``pytest`` and of each ``sdperf COMMAND`` and ``sdperf COMMAND ACTION``."""
    of_pytest = set()
    for group in [request.config._parser._anonymous, *request.config._parser._groups]:
        for option in group.options:
            of_pytest.update(option.names())
    return {"pytest": of_pytest, **{name: list_options(one) for name, one in PARSERS.items()}}


def find_faults(text, known):
    """Say which commands and options of a text do not exist."""
    starts = [*PROGRAMS.finditer(text.text)]
    borders = [found.start() for found in starts] + [len(text.text)]
    faults = _check_alone(text, text.text[: borders[0]], known)
    for found, until in zip(starts, borders[1:], strict=True):
        phrase = text.text[found.start() : until]
        end = PHRASE_ENDS.search(phrase)
        line, rest = (phrase[: end.start()], phrase[end.end() :]) if end else (phrase, "")
        faults += _check_line(found[1], line, known) + _check_alone(text, rest, known)
    return faults


def _check_line(program, line, known):
    if program not in ("sdperf", "pytest"):
        return []
    name, words = program, line.split()[1:]
    if program == "sdperf":
        while words and re.fullmatch(r"[a-z][a-z-]+,?", words[0]):
            word = words.pop(0).rstrip(",")
            if f"{name} {word}" in known:
                name = f"{name} {word}"
                continue
            if name == "sdperf" and word not in VERBS:
                return [f"no command: sdperf {word}"]
            if name == "sdperf":
                return []
            if _has_actions(name) and word not in VERBS:
                return [f"no action: {name} {word}"]
            break
        if name == "sdperf" and not OPTION.search(line):
            return []
    mentioned = OPTION.findall(line)
    if name == "sdperf calibrate" and "--" in words:  # what follows is given to pytest
        mentioned = OPTION.findall(line.partition(" -- ")[0])
    return [f"no option of {name}: {one}" for one in mentioned if one not in known[name]]


def _has_actions(name):
    """Say whether a command does nothing without an action."""
    actions = [
        action
        for action in PARSERS[name]._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return bool(actions)


def _check_alone(text, rest, known):
    found = OPTION.findall(rest)
    if not found:
        return []
    if text.file.startswith("judging/"):  # but for parts that command lines are made of
        bare = [one for one in found if one.startswith("--sd-") and " " in text.text]
        if bare:
            return [f"no program before {one}" for one in bare]
    commands = [
        name
        for name in known
        if name.startswith("sdperf ") and _is_file_of(text.file, COMMANDS[name.split()[1]])
    ]
    allowed = set().union(*(known[name] for name in commands or known), known["pytest"])
    return [f"no option: {one}" for one in found if one not in allowed | OF_OTHER_PROGRAMS]


def _is_file_of(file, module):
    path = f"cli/{module.replace('.', '/')}"
    return file == f"{path}.py" or file.startswith(f"{path}/")


def test_every_command_and_option_that_a_message_names_exists(known):
    texts = collect_package()
    assert len(texts) > 5000
    faults = [
        f"{text.file}:{text.line}: {fault}" for text in texts for fault in find_faults(text, known)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ("give --sd-width 64", "no option: --sd-width"),
        ("sdperf generat makes one", "no command: sdperf generat"),
        ("look: sdperf history lst", "no action: sdperf history lst"),
        ("sdperf generate --sd-in-process", "no option of sdperf generate: --sd-in-process"),
        ("sdperf baseline accept --resaon TEXT", "no option of sdperf baseline accept: --resaon"),
        ("run pytest benchmarks --benchmark-autosav", "no option of pytest: --benchmark-autosav"),
        ("git fetch --unshallow; --sd-heights 3", "no option: --sd-heights"),
        ("sdperf doctor, or --confrim", "no option: --confrim"),
    ],
)
def test_a_planted_hint_is_found(planted, fault, known):
    (text,) = collect_texts(f"hint = {planted!r}", "run/planted.py")
    assert find_faults(text, known) == [fault]
    (formatted,) = collect_texts(f'hint = f"{{name}}: {planted}"', "run/planted.py")
    assert find_faults(formatted, known) == [fault]


def test_an_option_of_another_command_is_no_option_of_this_one(known):
    (text,) = collect_texts("hint = 'give --min-psnr'", "cli/generate.py")
    assert find_faults(text, known) == ["no option: --min-psnr"]
    (text,) = collect_texts("hint = 'give --min-psnr'", "cli/tune/options.py")
    assert find_faults(text, known) == []


def test_what_sessions_and_commands_both_say_names_the_program_of_an_option(known):
    (text,) = collect_texts("hint = 'raise --sd-processes'", "judging/latency.py")
    assert find_faults(text, known) == ["no program before --sd-processes"]
    (text,) = collect_texts("hint = 'pytest --sd-processes 5'", "judging/latency.py")
    assert find_faults(text, known) == []


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ("f'sdperf generate {IN_PROCESS}'", "no option of sdperf generate: --sd-in-process"),
        ("f'sdperf generate {CONFIRM.flag} 3'", "no option of sdperf generate: --confirm"),
        ("f'raise {PROCESSES}'", "no program before --sd-processes"),
    ],
)
def test_a_setting_that_is_named_by_its_constant_is_its_option(planted, fault, known):
    (text,) = collect_texts(f"hint = {planted}", "judging/planted.py")
    assert find_faults(text, known) == [fault]


def test_one_module_spells_the_options_of_pytest():
    spelled = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "--sd-" in path.read_text("utf-8")
    }
    assert spelled == {"settings/kinds.py"}


def test_docstrings_are_no_messages():
    assert not list(collect_texts('"""--none"""\nX = 1\n"""--none"""', "x.py"))


def test_options_of_other_programs_are_all_met():
    met = {option for text in collect_package() for option in OPTION.findall(text.text)}
    assert met >= OF_OTHER_PROGRAMS


def test_every_extra_that_a_message_names_can_be_installed():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    named = {
        name
        for text in collect_package()
        for name in re.findall(r"sdperf\[([^\]{}]+)\]", text.text)
    }
    assert {"report", "tune", "postgres", "nvidia"} <= named <= set(extras)
