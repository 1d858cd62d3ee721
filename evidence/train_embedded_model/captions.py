"""Writes the captions of the training pictures. Pure: a seeded `random.Random` in, words out."""

import random

from .colours import compute_noun

_WRAPPERS = (
    "{a}",
    "{name} emoji",
    "an emoji of {a}",
    "a picture of {a}",
    "a drawing of {a}",
    "emoji of {name}",
    "the {name}",
    "a {name} emoji",
)
_BACKGROUNDS = (
    "{phrase} on {a} background",
    "{phrase} on {colour} background",
    "{phrase} with {a} background",
    "{phrase}, {colour} background",
    "{phrase} on {colour}",
)


def write_article(name: str) -> str:
    """``"apple"`` -> ``"an apple"``."""
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def write_plural(name: str) -> str:
    """The English plural of the last word, by the regular rules: ``"cherry"`` -> ``"cherries"``."""
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return name if name.endswith("s") and not name.endswith("ss") else name + "es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def choose_name(names: tuple[str, ...], rng: random.Random) -> str:
    """The label (first) in 60 % of the draws, else any of the names."""
    return names[0] if rng.random() < 0.6 else rng.choice(names)


def write_coloured(name: str, colour: str) -> str:
    """``("red apple", "blue")`` -> ``"blue apple"``."""
    return f"{colour} {compute_noun(name)}"


def write_phrase(name: str, rng: random.Random) -> str:
    """A noun phrase: bare in half of the draws, else wrapped ("a drawing of an apple")."""
    if rng.random() < 0.5:
        return name
    return rng.choice(_WRAPPERS).format(name=name, a=write_article(name))


def write_single(name: str, tags: tuple[str, ...], rng: random.Random) -> str:
    """Caption of one emoji on white: a phrase, in a fifth of the draws with one to three tags.

    4 % are tags alone.
    """
    roll = rng.random()
    if roll < 0.04 and len(tags) >= 3:
        return ", ".join(rng.sample(tags, 3))
    phrase = write_phrase(name, rng)
    if roll < 0.22 and tags:
        phrase = ", ".join([phrase, *rng.sample(tags, min(len(tags), rng.randint(1, 3)))])
    return phrase


def write_on_background(phrase: str, colour: str, rng: random.Random) -> str:
    """``("apple", "blue")`` -> ``"apple on a blue background"`` and the like."""
    return rng.choice(_BACKGROUNDS).format(phrase=phrase, colour=colour, a=write_article(colour))


def write_two(name: str, rng: random.Random) -> str:
    """``"banana"`` -> ``"two bananas"``."""
    plural = write_plural(name)
    return rng.choice(
        ("two {}", "two {}", "two {}", "two {} emoji", "a picture of two {}", "2 {}")
    ).format(plural)


def write_pair(left: str, right: str, rng: random.Random) -> str:
    """``("cat", "pizza")`` -> ``"cat and pizza"``, with articles in half of the draws."""
    roll = rng.random()
    if roll < 0.5:
        return f"{left} and {right}"
    if roll < 0.85:
        return f"{write_article(left)} and {write_article(right)}"
    return f"{left} next to {right}"
