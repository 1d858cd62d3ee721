"""Regular expressions that read what others wrote take time that grows with the text's length."""

import pytest

from sdperf.store.contribution.anonymity import Identity, find_identifying

LENGTH = 2**19


@pytest.mark.parametrize(
    "piece", ["a", "a-", "a.", "A0", "0", "a@", "@", "0:", "-", ".", "/", "a-.local", " a", "1."]
)
def test_a_trace_is_looked_for_in_linear_time(piece):
    """With a quadratic pattern one takes seven minutes, and all of them more than an hour."""
    find_identifying({"text": piece * (LENGTH // len(piece))}, Identity(()))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("mail me@example.org", "a mail address"),
        ("x.y+z@a-b.co", "a mail address"),
        ("my-mac.local", "a host name"),
        ("MAC.LAN", "a host name"),
    ],
)
def test_traces_are_still_found(text, what):
    assert find_identifying({"text": text}, Identity(())) == [f".text: {what}"]
