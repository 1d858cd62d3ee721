"""Deprecations inside of diffusers and transformers stop no generation; others still do."""

import warnings

import pytest

from sdperf.models.known_warnings import known_warnings_ignored


def warn_in(module, text="`past_key_values` is deprecated and will be removed"):
    warnings.warn_explicit(text, FutureWarning, "file.py", 1, module=module)


@pytest.mark.parametrize(
    "module", ["diffusers.pipelines.ideogram4.pipeline_ideogram4", "transformers.modeling_layers"]
)
def test_what_the_networks_do_by_themselves_is_no_error(module):
    with known_warnings_ignored():
        warn_in(module)
    with pytest.raises(FutureWarning):
        warn_in(module)


@pytest.mark.parametrize(
    ("module", "text"),
    [("mine.pipelines", "x is deprecated"), ("transformers.modeling_layers", "NaN was met")],
)
def test_a_users_own_warning_and_another_one_still_count(module, text):
    with known_warnings_ignored(), pytest.raises(FutureWarning):
        warn_in(module, text)
