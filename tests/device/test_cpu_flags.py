"""The processor's own 16-bit formats, from flags of machines that are not here."""

import platform
import subprocess

import pytest

from sdperf.device.cpu_flags import (
    cpu_native_precisions,
    parse_cpuinfo_flags,
    parse_sysctl_flags,
    read_cpu_flags,
    read_cpu_native_precisions,
)

SAPPHIRE = "processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile\n"
ZEN4 = "flags : fpu sse avx2 avx512f avx512_bf16\n\nflags : fpu sse avx2 avx512f avx512_bf16\n"
HASWELL = "flags\t: fpu sse avx2 f16c fma\n"
NEOVERSE = "Features\t: fp asimd fphp asimdhp bf16 svebf16\n"
RASPBERRY_4 = "Features\t: fp asimd evtstrm crc32 cpuid\n"
MIXED = "Features : fp asimd fphp asimdhp\nFeatures : fp asimd\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SAPPHIRE, {"fp16", "bf16"}),
        (ZEN4, {"bf16"}),
        (HASWELL, set()),
        (NEOVERSE, {"fp16", "bf16"}),
        (RASPBERRY_4, set()),
        (MIXED, set()),
        ("Features : fphp\n", set()),
        ("flags : amx_fp16\n", {"fp16"}),
        ("", set()),
    ],
)
def test_precisions_of_linux_processors(text, expected):
    assert cpu_native_precisions(parse_cpuinfo_flags(text)) == expected


def test_precisions_of_apple_processors():
    first = "hw.optional.arm.FEAT_FP16: 1\nhw.optional.arm.FEAT_BF16: 0\n"
    later = first.replace("BF16: 0", "BF16: 1")
    assert cpu_native_precisions(parse_sysctl_flags(first)) == {"fp16"}
    assert cpu_native_precisions(parse_sysctl_flags(later)) == {"fp16", "bf16"}
    assert parse_sysctl_flags("hw.optional.arm.FEAT_FP16: 11\n") == frozenset()
    assert parse_sysctl_flags("") == frozenset()


def test_reads_this_file_and_tells_unknown_from_none(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    cpuinfo = tmp_path / "cpuinfo"
    assert read_cpu_flags(cpuinfo) is None
    cpuinfo.write_text("processor : 0\n")
    assert read_cpu_flags(cpuinfo) is None
    cpuinfo.write_text(ZEN4)
    assert "avx512_bf16" in (read_cpu_flags(cpuinfo) or ())
    assert read_cpu_native_precisions(cpuinfo) == ("bf16",)
    assert read_cpu_native_precisions(tmp_path / "missing") == ()


def test_reads_sysctl_on_a_mac(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")

    def answer(command, **options):
        assert command[:2] == ("/usr/sbin/sysctl", "-i")
        return subprocess.CompletedProcess(command, 0, "hw.optional.arm.FEAT_FP16: 1\n", "")

    monkeypatch.setattr(subprocess, "run", answer)
    assert read_cpu_flags() == {"FEAT_FP16"}

    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, 2.0)

    monkeypatch.setattr(subprocess, "run", hang)
    assert read_cpu_flags() is None
