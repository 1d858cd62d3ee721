"""A list of package versions as steps of a search. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from sdperf.errors import ConfigurationError

_EXAMPLE = "--python-package torch==2.12.0 --python-package torch==2.13.0"


def parse_package_steps(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Read the steps of a search over versions, the good end first.

    Args:
        texts: A step each: one or more requirements with exact versions, apart by blanks.

    Returns:
        The requirements of each step, sorted and in one spelling.

    Raises:
        ConfigurationError: A requirement cannot be read or names no exact version, a step comes
            twice or names other packages than the first, or there are fewer than two.
    """
    steps = [_parse_step(text) for text in texts]
    if len(steps) < 2:
        raise ConfigurationError(
            "there is nothing to search in a list of one version",
            got=" ".join(texts) or "none",
            expected="two or more, the good one first",
            hint=f"sdperf bisect {_EXAMPLE}",
        )
    names = [tuple(_name_of(one) for one in step) for step in steps]
    for text, step, named in zip(texts, steps, names, strict=True):
        if named != names[0]:
            raise ConfigurationError(
                "each step has to name the same packages",
                got=text,
                expected=f"versions of {', '.join(names[0])}",
                hint="name a package in every step, with its version of the time",
            )
        if steps.count(step) > 1:
            raise ConfigurationError("a step comes twice", got=text, expected="different versions")
    return tuple(steps)


def name_step(requirements: Sequence[str]) -> str:
    """Return the name of a step: its requirements, apart by blanks."""
    return " ".join(requirements)


def label_step(step: str) -> str:
    """Return how people say a step.

    >>> label_step("diffusers==0.42.1 torch==2.13.0")
    'diffusers 0.42.1, torch 2.13.0'
    """
    return ", ".join(requirement.replace("==", " ") for requirement in step.split())


def _parse_step(text: str) -> tuple[str, ...]:
    requirements = []
    for word in text.split():
        try:
            requirement = Requirement(word)
        except InvalidRequirement as error:
            raise _refused(word, str(error).splitlines()[0]) from error
        pins = [one for one in requirement.specifier if one.operator in ("==", "===")]
        exact = [one for one in pins if not one.version.endswith(".*")]
        if requirement.url is None and (len(exact) != 1 or len(requirement.specifier) != 1):
            raise _refused(word, "no exact version")
        requirement.name = canonicalize_name(requirement.name)
        requirements.append(str(requirement).replace(" ", ""))
    if not requirements:
        raise _refused(text, "nothing")
    named = [_name_of(one) for one in requirements]
    if len(set(named)) < len(named):
        raise _refused(text, "a package comes twice")
    return tuple(sorted(requirements))


def _name_of(requirement: str) -> str:
    return Requirement(requirement).name


def _refused(word: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"--python-package cannot use {word!r}",
        got=why,
        expected="exact versions, such as torch==2.13.0 or 'torch==2.13.0 diffusers==0.42.1'",
        hint=f"sdperf bisect {_EXAMPLE}",
    )
