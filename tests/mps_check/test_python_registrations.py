"""What torch registers for MPS in Python, read from sources made up here."""

import pytest

from sdperf.errors import ConfigurationError
from sdperf.mps_check.python_registrations import read_python_registrations

MPS = "torch/backends/mps/__init__.py"
BASE = {
    "torch/__init__.py": "import torch.backends.mps\ntorch.backends.mps._init()\n",
    "torch/backends/__init__.py": "",
    MPS: """
from torch.library import Library as _Library

def _init():
    from torch._refs import native_group_norm
    _lib = _Library("aten", "IMPL")
    _lib.impl("native_group_norm", native_group_norm, "MPS")
    _lib.impl("relu", native_group_norm, "CUDA")
""",
    "torch/_refs/__init__.py": "from . import linalg\ndef native_group_norm(): ...\n",
    "torch/_refs/linalg.py": """
mps_lib = torch.library.Library("aten", "IMPL", "MPS")
mps_lib.impl("aten::lu_solve.out", solve)
""",
}


def read(**files):
    sources = BASE | {f"torch/{name}.py": text for name, text in files.items()}
    found = read_python_registrations(list(sources), sources.get)
    return {each.operator: (each.place, each.needs) for each in found}


def test_a_function_that_torch_calls_at_import_registers_what_it_names():
    assert read() == {
        "native_group_norm": (f"{MPS}:7", ""),
        "lu_solve.out": ("torch/_refs/linalg.py:3", ""),
    }


@pytest.mark.parametrize(
    "text",
    [
        '@torch.library.impl("aten::x", "MPS")\ndef f(): ...',
        'lib = Library("aten", "IMPL")\n@torch.library.impl(lib, "x", "MPS")\ndef f(): ...',
        '@torch.library.register_kernel("aten::x", "mps")\ndef f(): ...',
        'lib = Library("aten", "IMPL")\nlib.impl("x", f, dispatch_key="MPS")',
        'register_op_override("dsl", "aten", "x", "MPS", f)',
    ],
)
def test_every_way_to_register_is_read_and_says_what_must_be_imported_first(text):
    place, needs = read(lazy=text)["x"]
    assert place.startswith("torch/lazy.py:")
    assert needs == "torch.lazy"


@pytest.mark.parametrize(
    "text",
    [
        'lib = Library("other", "FRAGMENT")\nlib.impl("x", f, "MPS")',
        'lib = Library("aten", "IMPL", "Meta")\nlib.impl("x", f)  # not MPS',
        '@torch.library.impl("other::x", "MPS")\ndef f(): ...',
        'thing.impl("x", f, "MPS")',
    ],
)
def test_other_libraries_and_other_devices_are_left_out(text):
    assert "x" not in read(lazy=text)


def test_what_is_for_types_only_is_not_imported():
    root = "if TYPE_CHECKING:\n    import torch.lazy\nelse:\n    import torch.eager\n"
    lazy = '@torch.library.impl("aten::{}", "MPS")\ndef f(): ...'
    found = read(__init__=root, lazy=lazy.format("x"), eager=lazy.format("y"))
    assert found["x"][1] == "torch.lazy"
    assert found["y"][1] == ""


def test_a_name_that_is_computed_is_refused_rather_than_passed_over():
    with pytest.raises(ConfigurationError, match=r"not written out.*torch/lazy\.py:3"):
        read(lazy='lib = Library("aten", "IMPL")\nfor x in y:\n    lib.impl(x, f, "MPS")')
