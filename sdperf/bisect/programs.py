"""Steps of package versions in the environment of an external engine, which has its own Python.

sdperf's environment stays as it is: what was asked for is laid over that of the interpreter which
the program's command names, and the command is given the new interpreter in its place.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sdperf.ab.sides.present import Overlaid, describe_packages, make_overlaid
from sdperf.ab.sides.sides import MatrixCase, Side
from sdperf.bisect.packages import label_step
from sdperf.bisect.steps import Versions
from sdperf.engines.external.naming import NamedCommand, parse_external
from sdperf.engines.external.program import PYTHON
from sdperf.errors import ConfigurationError
from sdperf.record.workload import is_external

_INTERPRETER: Final = re.compile(r"(?:python|pypy)[0-9.]*t?")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_PREFIXES: Final = {
    "env": ("u unset C chdir", 0),
    "nice": ("n adjustment", 0),
    "ionice": ("c class n classdata", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "time": ("f format o output", 0),
    "stdbuf": ("i input o output e error", 0),
    "numactl": ("N m C i p", 0),
    "taskset": ("", 1),
    "chrt": ("", 1),
    "timeout": ("k kill-after s signal", 1),
}
"""Programs that start another one: options that take the next word, and words before that one."""
_TIMEOUT_S: Final = 60.0
_DESCRIBE: Final = "\n".join(
    (
        "from __future__ import annotations",
        inspect.getsource(describe_packages),
        "import json, sys",
        "sys.stdout.write(json.dumps(describe_packages()))",
    )
)


def find_program(cases: Sequence[MatrixCase]) -> NamedCommand | None:
    """Return the program whose environment is searched; ``None``: it is sdperf's own.

    A command with ``{python}`` in it runs in sdperf's environment, as all steps do then.

    Args:
        cases: What is measured, each by the same engine.
    """
    engines = {one.variant.engine for one in cases}
    if len(engines) != 1 or not is_external(engine := engines.pop()):
        return None
    named = parse_external(engine)
    return None if any(PYTHON in word for word in named.command) else named


def find_interpreter(named: NamedCommand) -> str:
    """Return the word of a command that names its Python: its program, after ``env`` and the like.

    Raises:
        ConfigurationError: The program is no Python.
    """
    word = _find_program_word(named.command)
    if _INTERPRETER.fullmatch(Path(word).name):
        return word
    raise ConfigurationError(
        f"the command of {named.name} starts no Python whose packages could change",
        got=shlex.join(named.command),
        expected="an interpreter as its program, such as ENV/bin/python SCRIPT, also after env, "
        "nice or taskset",
        hint="name the interpreter of the program's environment, not a script of that environment; "
        "what a container or another machine starts cannot be searched",
    )


def _find_program_word(command: Sequence[str]) -> str:
    """Return the first word of a command that is no prefix such as ``nice -n 5``; or nothing."""
    words = list(command)
    while words:
        word = words.pop(0)
        prefix = Path(word).name
        if prefix not in _PREFIXES:
            return word
        valued, positional = _PREFIXES[prefix]
        while words and words[0].startswith("-"):
            if words.pop(0).lstrip("-") in valued.split():
                del words[:1]
        del words[:positional]
        while prefix == "env" and words and _ASSIGNMENT.fullmatch(words[0]):
            del words[0]
    return ""


def read_environment(word: str) -> Overlaid:
    """Ask an interpreter which packages it finds, and where.

    Args:
        word: Its path, or its name on the search path.

    Raises:
        ConfigurationError: It cannot be started, or is no Python.
    """
    found = shutil.which(word)
    try:
        if found is None:
            raise FileNotFoundError("no such program")
        path = str(Path(found).absolute())  # unresolved: a link may be what makes it an environment
        done = subprocess.run(
            [path, "-I", "-c", _DESCRIBE],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        return make_overlaid(path, json.loads(done.stdout))
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
        raise ConfigurationError(
            "the program's Python cannot be asked for its packages",
            got=f"{word}: {str(error).splitlines()[0][:200]}",
            expected="an interpreter that starts",
        ) from error


@dataclass
class ProgramVersions(Versions):
    """Sides of package versions in a program's environment; workers run in sdperf's own.

    Attributes:
        named: The program.
        word: The word of its command that each step's interpreter takes the place of.
    """

    named: NamedCommand = field(kw_only=True)
    word: str = field(kw_only=True)

    def make_side(self, step: str, interpreter: Path) -> Side:
        """Let the program's command start the interpreter of a step."""
        words = list(self.named.command)
        words[words.index(self.word)] = str(interpreter)
        engine = NamedCommand(self.named.name, tuple(words)).engine
        return dataclasses.replace(
            self.template,
            label=label_step(step),
            variant_changes={**self.template.variant_changes, "engine": engine},
        )
