"""Engine against engine: what is put together, and what is said of it."""

import dataclasses
from types import SimpleNamespace

from sdperf.record.measurement import EngineUse, Gain, MemoryUsage
from sdperf.record.workload import Variant
from sdperf.report.figures.engines import draw_engines
from sdperf.report.figures.style import render_inline_svg
from sdperf.report.text.session.engines import format_engines, group_engines
from sdperf.report.text.wrapping import WIDTH
from tests.support.measurements import image, measurement, scores

ONNX = EngineUse("onnx", "1.32.0", "CPUExecutionProvider", 24 * 2**20, 35.0)


def on_engine(name, seconds, use=None, **changes):
    use = use or dataclasses.replace(ONNX, name=name)
    worst = image(scores=(scores("fp32-sync", ssim=0.9987, tile=0.99),))
    fields = {"engine": use, "variant": Variant(engine=name), "images": (image(), worst)}
    return measurement(rounds_s=(seconds,) * 3, **(fields | changes))


def rows(*measured):
    return [SimpleNamespace(measurement=one) for one in measured]


def test_what_differs_by_its_engine_is_put_together_torch_first():
    plain = measurement(
        rounds_s=(1.6,) * 3, memory=MemoryUsage(weight_bytes={"unet": 2**20, "vae": 2**20})
    )
    other = measurement(variant=Variant("fp16"))
    (group,) = group_engines([on_engine("onnx", 1.0), other, plain, on_engine("mlx", 0.8)])
    assert group.title == "latency fp32-sync-1w"
    assert [one.engine for one in group.results] == ["torch", "onnx", "mlx"]
    torch, onnx, mlx = group.results
    assert (torch.times, torch.ssim, torch.model_bytes) == (None, None, 2 * 2**20)
    assert (onnx.times, onnx.is_paired, onnx.ssim, onnx.tile) == (1.6, False, 0.9987, 0.99)
    assert (onnx.model_bytes, onnx.conversion_s) == (24 * 2**20, 35.0)
    assert mlx.times == 2.0


def test_cases_on_one_engine_alone_are_no_comparison():
    assert group_engines([measurement(), measurement(variant=Variant("fp16"))]) == []
    assert group_engines([on_engine("onnx", 1.0)]) == []
    assert format_engines(rows(measurement())) == []


def test_a_gain_brings_its_torch_side_along_and_its_own_ratio():
    gain = Gain(Variant(), 1.7, 1.6, 1.8, 0.9, (3.2, 3.4, 3.3), 2)
    (group,) = group_engines([on_engine("onnx", 1.0, gain=gain)])
    torch, onnx = group.results
    assert torch.per_image_s == 1.65
    assert (onnx.times, onnx.is_paired) == (1.7, True)
    across = dataclasses.replace(gain, against=Variant("bf16"))
    assert group_engines([on_engine("onnx", 1.0, gain=across)]) == []


def test_the_table_marks_what_was_not_measured_in_turns():
    lines = format_engines(rows(measurement(rounds_s=(1.6,) * 3), on_engine("onnx", 1.0)))
    text = "\n".join(line.text for line in lines)
    assert "engine against engine, latency fp32-sync-1w" in text
    (row,) = [line.text.split() for line in lines if line.text.startswith("  onnx")]
    assert row[:6] == ["onnx", "1.00", "s", "1.60", "*", "0.9987"]
    assert "drift is not excluded" in text
    assert all(len(line.text) <= WIDTH for line in lines)
    gain = Gain(Variant(), 1.7, 1.6, 1.8, 0.9, (1.6, 1.7), 1)
    paired = format_engines(rows(on_engine("onnx", 1.0, gain=gain)))
    assert not any("*" in line.text for line in paired)
    several = format_engines(rows(*(on_engine(name, 1.0, gain=gain) for name in ("onnx", "mlx"))))
    assert "compare times, not seconds" in several[-1].text
    assert "compare times" not in paired[-1].text


def test_the_figure_has_a_bar_for_each_engine_and_its_numbers():
    machine = SimpleNamespace(cases=rows(measurement(rounds_s=(1.6,) * 3), on_engine("onnx", 1.0)))
    drawn = draw_engines(machine)
    assert len(drawn.figure.axes[0].patches) == 2
    assert [row[1] for row in drawn.table.rows] == ["torch", "onnx"]
    assert len(drawn.table.header) == len(drawn.table.rows[0])
    svg = render_inline_svg(drawn.figure, "m1-engines", drawn.title, drawn.hints)
    assert "onnx CPUExecutionProvider: 1.00 s  1.60 x *  SSIM 0.9987" in svg
    assert draw_engines(SimpleNamespace(cases=rows(measurement()))) is None
