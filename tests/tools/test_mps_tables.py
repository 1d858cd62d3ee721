"""What a macOS library registers, read from a library of a few instructions made here."""

import struct

import pytest

from sdperf.mps_check.python_registrations import PythonRegistration
from tools.mps_tables.__main__ import format_table, merge, read_versions
from tools.mps_tables.macho import Library
from tools.mps_tables.registrations import Registrations, read_registrations

CODE, TEXTS = 0x4000, 0x8000
GENERATED = "__ZN2at12_GLOBAL__N_134TORCH_LIBRARY_IMPL_init_aten_MPS_1ERN5torch7LibraryE"
BY_HAND = "__ZN2atL34TORCH_LIBRARY_IMPL_init_aten_MPS_2ERN5torch7LibraryE"
OTHER = "__ZN2at12_GLOBAL__N_134TORCH_LIBRARY_IMPL_init_aten_CPU_1ERN5torch7LibraryE"
TO_CPU = "__ZN3c1011BoxedKernel19make_boxed_functionIXadL_ZN2atL12mps_fallbackE"
OWN = "__ZN2atL23slow_conv2d_forward_mpsE"
VERSION = {"wheel": "w", "sha256": "s", "by_hand": [], "python": [], "texts": ["t"]}
RETURN = struct.pack("<I", 0xD65F03C0)


def load_address(at, target, register=0):
    """ADRP and ADD: how the compiler loads a far address."""
    pages = (target >> 12) - (at >> 12)
    adrp = 0x90000000 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5 | register
    add = 0x91000000 | (target & 0xFFF) << 10 | register << 5 | register
    return struct.pack("<2I", adrp, add)


def load_near(at, target):
    """ADR: how it loads a near one."""
    distance = target - at
    return struct.pack("<I", 0x10000000 | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5)


def section(segment, name, address, size, offset):
    padded = name.encode().ljust(16, b"\0") + segment.encode().ljust(16, b"\0")
    return padded + struct.pack("<2QI", address, size, offset) + bytes(28)


def write_library(path, functions, texts):
    """Lay out a 64-bit ARM library.

    Args:
        path: Where to.
        functions: For each symbol, the symbols and texts that its code loads.
        texts: All texts.
    """
    at_text, constants = {}, b""
    for text in texts:
        at_text[text] = TEXTS + len(constants)
        constants += text.encode() + b"\0"
    size = 64
    at_code = {symbol: CODE + size * index for index, symbol in enumerate(functions)}
    code = b""
    for symbol, loaded in functions.items():
        body = b""
        for index, name in enumerate(loaded):
            here = at_code[symbol] + len(body)
            target = at_code.get(name, at_text.get(name))
            body += load_near(here, target) if index % 2 else load_address(here, target)
        code += (body + RETURN).ljust(size, b"\0")
    names, symbols = b"\0", b""
    for symbol, address in at_code.items():
        symbols += struct.pack("<IBBHQ", len(names), 0x0E, 1, 0, address)
        names += symbol.encode() + b"\0"
    segment_bytes, header = 72 + 2 * 80, 32
    start = header + segment_bytes + 24
    at = {"code": start, "texts": start + len(code)}
    at["symbols"] = at["texts"] + len(constants)
    at["names"] = at["symbols"] + len(symbols)
    segment = struct.pack("<2I16s4Q4I", 0x19, segment_bytes, b"__TEXT", 0, 0, 0, 0, 0, 0, 2, 0)
    segment += section("__TEXT", "__text", CODE, len(code), at["code"])
    segment += section("__TEXT", "__cstring", TEXTS, len(constants), at["texts"])
    table = struct.pack("<6I", 2, 24, at["symbols"], len(at_code), at["names"], len(names))
    head = struct.pack("<8I", 0xFEEDFACF, 0x100000C, 0, 6, 2, len(segment) + len(table), 0, 0)
    path.write_bytes(head + segment + table + code + constants + symbols + names)
    return Library(path)


@pytest.fixture
def library(tmp_path):
    functions = {
        GENERATED: ["add.out"],
        BY_HAND: [TO_CPU, "embedding_renorm_", "linalg_svd", OWN, "_slow_conv2d_forward"],
        OTHER: ["sub.out"],
        TO_CPU: [],
        OWN: [],
    }
    texts = ["add.out", "embedding_renorm_", "linalg_svd", "_slow_conv2d_forward", "sub.out"]
    texts.append("MPS does not do this")
    return write_library(tmp_path / "libtorch_cpu.dylib", functions, texts)


def test_registrations_are_told_from_those_of_other_backends_and_from_the_way_to_the_cpu(library):
    found = read_registrations(library)
    assert found.kernels == {"add.out", "_slow_conv2d_forward"}
    assert found.to_cpu == {"embedding_renorm_", "linalg_svd"}


def test_messages_are_found(library):
    assert library.has_text("does not do this")
    assert not library.has_text("does not do that")


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "library.so"
    path.write_bytes(b"\x7fELF" + bytes(60))
    with pytest.raises(ValueError, match="not a 64-bit Mach-O"):
        Library(path)


def test_the_library_has_the_last_word():
    routes = {"add.out": "m", "linalg_svd": "x", "odd": "x"}
    registered = Registrations(frozenset({"add.out", "odd"}), frozenset({"linalg_svd"}))
    assert merge(routes, registered) == ["linalg_svd", "odd"]
    assert routes == {"add.out": "m", "linalg_svd": "c", "odd": "m"}


def test_a_kernel_that_is_listed_and_not_registered_stops_the_tool():
    with pytest.raises(SystemExit, match=r"listed but not registered: add\.out"):
        merge({"add.out": "m"}, Registrations(frozenset(), frozenset()))


def test_python_overrules_the_library_unless_it_waits_for_an_import():
    routes = {"norm": "e", "fast": "m", "slow": "x", "late": "x"}
    registered = Registrations(frozenset({"fast"}), frozenset())
    needs = {"norm": "", "fast": "torch.lazy", "late": "torch.lazy"}
    in_python = tuple(PythonRegistration(name, "f", "torch/a.py:1", needs[name]) for name in needs)
    merge(routes, registered, in_python)
    assert routes == {"norm": "p", "fast": "m", "slow": "x", "late": "p"}


def test_versions_are_added_to_those_of_a_table(tmp_path):
    path = tmp_path / "dispatch.json"
    found = [
        VERSION | {"version": "1", "routes": {"a": "m", "b": "x"}},
        VERSION | {"version": "2", "routes": {"a": "m"}, "texts": []},
    ]
    path.write_text(format_table(found, ["t"]))
    assert read_versions(path, ["t"]) == found
    with pytest.raises(SystemExit, match="made without looking for 'new'"):
        read_versions(path, ["t", "new"])


def test_an_operator_that_is_alike_everywhere_has_one_letter():
    def version(name, **routes):
        return VERSION | {"version": name, "routes": routes}

    text = format_table([version("1", a="m", b="x"), version("2", a="m", b="m", c="i")], ["t", "u"])
    assert '"a": "m"' in text
    assert '"b": "xm"' in text
    assert '"c": "-i"' in text
    assert '"u": []' in text
