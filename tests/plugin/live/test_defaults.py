"""What is on by default in a session that names no optimisation, on a stand-in device."""

from types import SimpleNamespace

import pytest

from sdperf.pipeline.optimisations.catalogue import DEFAULT, check_supported
from sdperf.plugin.live.suites import SessionSuites
from sdperf.record.workload import Variant


class Standin(SessionSuites):
    """The suites of a session on a device that is not here."""

    def __init__(self, kind, pipeline_class):
        super().__init__(SimpleNamespace(), None, None, None)
        self.device = SimpleNamespace(kind=kind)
        self.model = SimpleNamespace(pipeline_class=pipeline_class)

    def own(self):
        return SimpleNamespace(describe_device=lambda: self.device, model=self.model)


@pytest.mark.parametrize(
    ("pipeline_class", "family", "names"),
    [
        ("StableDiffusionPipeline", "sd", ("channels_last", "cuda_graphs", "loop_graph")),
        ("StableDiffusionXLPipeline", "sdxl", ("channels_last", "cuda_graphs", "loop_graph")),
        ("Flux2KleinPipeline", "whole", ("text_graphs", "stored_png")),
        ("ZImagePipeline", "whole", ("text_graphs", "stored_png")),
        ("QwenImagePipeline", "whole", ("text_graphs", "stored_png")),
        ("StableDiffusion3Pipeline", "sd3", ("text_graphs", "stored_png")),
    ],
)
def test_every_pipeline_has_a_default_on_cuda_that_it_is_not_refused(pipeline_class, family, names):
    suites = Standin("cuda", pipeline_class)
    assert suites.find_default_optimisations() == names
    check_supported(names, "cuda", family, pipeline_class, (9, 0))


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_elsewhere_a_case_of_the_default_is_left_out(kind):
    suites = Standin(kind, "Flux2KleinPipeline")
    assert suites.find_default_optimisations() == ()
    assert suites.is_skipped(Variant(optimisations=(DEFAULT,)))
