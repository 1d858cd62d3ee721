"""What torch's macOS library registers for MPS when it is loaded, whoever wrote it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tools.mps_tables.macho import Library

_INITIALISER: Final = re.compile(r"TORCH_LIBRARY_IMPL_init_aten_MPS_\d+ERN5torch7LibraryE$")
_GENERATED: Final = "_GLOBAL__N_1"
"""torchgen's registrations are in an unnamed namespace, the hand-written ones in ``at`` itself."""

_FALLBACK: Final = "mps_fallback"
_OPERATOR: Final = re.compile(r"[A-Za-z_]\w*(\.\w+)?")


@dataclass(frozen=True)
class Registrations:
    """Operators of ``aten`` by what is registered for MPS: a kernel, or the way to the CPU."""

    kernels: frozenset[str]
    to_cpu: frozenset[str]


def read_registrations(library: Library) -> Registrations:
    """Follow each initialiser of ``TORCH_LIBRARY_IMPL(aten, MPS)``.

    A hand-written initialiser loads the function before the name; where it loads none, the one
    that is kept in a register is the way to the CPU, which all others there share.
    """
    kernels: set[str] = set()
    to_cpu: set[str] = set()
    for address, symbol in library.symbols.items():
        if not _INITIALISER.search(symbol):
            continue
        own_kernel = _GENERATED in symbol
        is_kernel = own_kernel
        for reference in library.references(address):
            if reference.symbol is not None:
                is_kernel = own_kernel or _FALLBACK not in reference.symbol
            elif reference.text is not None and _OPERATOR.fullmatch(reference.text):
                (kernels if is_kernel else to_cpu).add(reference.text)
                is_kernel = own_kernel
    return Registrations(frozenset(kernels), frozenset(to_cpu))
