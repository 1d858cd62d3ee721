import sys

import pytest

from sdperf.engines.catalogue import ENGINES
from sdperf.engines.requirements import require_installed
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import OPTIMISATIONS, PLAIN
from sdperf.store.history.database import require_driver

QUANTISING = ("int8_weights", "int8_dynamic", "int4_weights", "float8", "float8_blocks")


def find_nothing(name):
    return None


def find_all(name):
    return "1.0"


@pytest.mark.parametrize("name", QUANTISING)
def test_an_optimisation_without_its_package_is_refused_with_the_extra(name):
    with pytest.raises(ConfigurationError) as told:
        require_installed(["torch"], [PLAIN, "channels_last", name], "cpu", find_nothing)
    assert str(told.value) == (
        f"the optimisation {name} is not installed (torchao missing); "
        "do: pip install 'sdperf[quantise]'"
    )
    require_installed(["torch"], [PLAIN, name], "cpu", find_all)


def test_only_weights_in_fewer_bits_need_a_package():
    assert {one.name for one in OPTIMISATIONS.values() if one.distribution} == {*QUANTISING}


@pytest.mark.parametrize("name", ["onnx", "onnx-int8", "openvino", "mlx", "coreml"])
def test_an_engine_without_its_packages_is_refused_with_the_extra(name):
    extra = ENGINES[name].extra
    with pytest.raises(ConfigurationError, match=rf"pip install 'sdperf\[{extra}\]'"):
        require_installed([name], [], "cpu", find_nothing)


def test_what_needs_nothing_asks_for_nothing():
    require_installed(["torch"], ["channels_last", "default", PLAIN], "cpu", find_nothing)


def test_a_historys_driver_is_asked_for_without_connecting(monkeypatch):
    require_driver("postgresql://a@127.0.0.1:1/b")
    require_driver("sqlite:////nowhere/history.db")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'sdperf\[postgres\]'"):
        require_driver("postgresql://a@127.0.0.1:1/b")
