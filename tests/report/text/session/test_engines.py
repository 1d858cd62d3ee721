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
    assert (onnx.times, onnx.torch_s, onnx.is_paired) == (1.7, 1.65, True)
    across = dataclasses.replace(gain, against=Variant("bf16"))
    assert group_engines([on_engine("onnx", 1.0, gain=across)]) == []


def test_times_stand_beside_the_seconds_that_they_come_from():
    """A case on torch that ran at another moment is another torch than that of the turns."""
    gain = Gain(Variant(), 1.64, 1.5, 1.8, 0.9, (0.76, 0.75, 0.77, 0.76), 1)
    torch = measurement(rounds_s=(0.845,) * 3)
    measured = rows(torch, on_engine("onnx", 0.463, gain=gain), on_engine("mlx", 0.65))
    lines = format_engines(measured)
    cells = {
        words[0]: words for line in reversed(lines) if (words := line.text.split()) and words[1:]
    }
    assert cells["torch"][:5] == ["torch", "845", "ms", "-", "-"]
    assert cells["onnx"][:6] == ["onnx", "463", "ms", "760", "ms", "1.64"]
    assert cells["mlx"][:7] == ["mlx", "650", "ms", "845", "ms", "1.30", "*"]
    (group,) = group_engines(one.measurement for one in measured)
    for one in group.results[1:]:
        assert abs(one.torch_s / one.per_image_s - one.times) < 0.01


def test_the_table_marks_what_was_not_measured_in_turns():
    lines = format_engines(rows(measurement(rounds_s=(1.6,) * 3), on_engine("onnx", 1.0)))
    text = "\n".join(line.text for line in lines)
    assert "engine against engine, latency fp32-sync-1w" in text
    (row,) = [line.text.split() for line in lines if line.text.startswith("  onnx")]
    assert row[:8] == ["onnx", "1.00", "s", "1.60", "s", "1.60", "*", "0.9987"]
    assert "drift is not excluded" in text
    assert all(len(line.text) <= WIDTH for line in lines)
    gain = Gain(Variant(), 1.7, 1.6, 1.8, 0.9, (1.6, 1.7), 1)
    paired = format_engines(rows(on_engine("onnx", 1.0, gain=gain)))
    assert not any("*" in line.text for line in paired)
    assert paired[-1].text.startswith("  torch s/image: of the torch that the engine took turns")


def test_the_figure_has_a_bar_for_each_engine_and_its_numbers():
    machine = SimpleNamespace(cases=rows(measurement(rounds_s=(1.6,) * 3), on_engine("onnx", 1.0)))
    drawn = draw_engines(machine)
    assert len(drawn.figure.axes[0].patches) == 2
    assert [row[1] for row in drawn.table.rows] == ["torch", "onnx"]
    assert len(drawn.table.header) == len(drawn.table.rows[0])
    svg = render_inline_svg(drawn.figure, "m1-engines", drawn.title, drawn.hints)
    assert "onnx CPUExecutionProvider: 1.00 s  1.60 x *  SSIM 0.9987" in svg
    gain = Gain(Variant(), 1.7, 1.6, 1.8, 0.9, (1.6, 1.7), 1)
    paired = draw_engines(SimpleNamespace(cases=rows(on_engine("onnx", 1.0, gain=gain))))
    assert any("1.00 s  1.70 x (torch 1.65 s)" in one for one in paired.hints.values())
    assert draw_engines(SimpleNamespace(cases=rows(measurement()))) is None
