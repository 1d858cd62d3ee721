"""A gain is shown with its interval and what it costs the image, and never wider than the page."""

import dataclasses

from sdperf.record.measurement import Gain, ImageScores
from sdperf.record.verdict import Verdict
from sdperf.record.workload import Variant
from sdperf.report.text.session.cases import Row
from sdperf.report.text.session.gains import format_gain, format_gains
from tests.support.measurements import measurement

GAIN = Gain(Variant(), 2.5, 2.25, 2.75, 0.75, (1.0,) * 6, 1)


def row(measurement):
    return Row("latency_gain[fp32-a]", Verdict("a", ()), measurement, None)


def test_a_gain_has_its_interval_and_what_it_rests_on():
    assert format_gain(GAIN) == "2.50 times as fast as plain [2.25, 2.75] (75 %, 3 blocks)"
    one = dataclasses.replace(GAIN, plain_rounds_s=(1.0, 1.0))
    assert format_gain(one) == "2.50 times as fast as plain (one block: no interval)"

    slower = dataclasses.replace(one, ratio=0.4)
    assert format_gain(slower) == "0.40 times as fast as plain (one block: no interval)"


def test_only_cases_with_a_gain_are_listed_beside_their_images_worst_score():
    plain = measurement()
    scores = ImageScores("plain", "0" * 64, 0.9712, 40.0, 0.9, (0, 0, 8, 8), False)
    image = dataclasses.replace(plain.images[0], scores=(scores,))
    variant = Variant(optimisations=("channels_last", "loop_graph"))
    measured = dataclasses.replace(plain, variant=variant, gain=GAIN, images=(image,))
    measured = dataclasses.replace(measured, rounds_s=(0.4,) * 6)
    lines = [line.text for line in format_gains([row(plain), row(measured), row(None)])]
    assert len(lines) == 2
    assert lines[0].startswith("latency_gain[fp32-a]: 2.50 times as fast as plain")
    assert lines[1] == (
        "    channels_last+loop_graph: 400 ms an image against 1.00 s of plain fp32 in turns; "
        "SSIM 0.9712"
    )


def test_threads_that_were_asked_for_stand_beside_those_of_the_plain_side():
    plain = measurement()
    variant = Variant(threads=1, optimisations=("channels_last",))
    measured = dataclasses.replace(plain, variant=variant, gain=GAIN, rounds_s=(0.4,) * 6)
    text = " ".join(line.text.strip() for line in format_gains([row(measured)]))
    assert (
        "channels_last with 1 thread: 400 ms an image against 1.00 s of plain fp32 with as many "
        "threads as performance cores in turns" in text
    )
