import pytest

from sdperf.errors import ConfigurationError
from sdperf.pipeline.scheduling import apply_scheduler
from tests.support import tiny_pipelines


@pytest.fixture
def sd(tiny_folder):
    return tiny_pipelines.take(tiny_folder("sd"))


def test_a_scheduler_is_switched_with_the_models_noise_schedule(sd):
    before = sd.scheduler.config
    apply_scheduler(sd, "DDIMScheduler")
    assert type(sd.scheduler).__name__ == "DDIMScheduler"
    assert sd.scheduler.config.beta_end == before.beta_end


def test_no_name_and_the_own_name_keep_the_scheduler(sd):
    own = sd.scheduler
    apply_scheduler(sd, None)
    assert sd.scheduler is own
    apply_scheduler(sd, "PNDMScheduler")
    assert sd.scheduler.config == own.config


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Euler", "EulerDiscreteScheduler"),
        ("DIMScheduler", "DDIMScheduler"),
        ("?", "PNDMScheduler"),
    ],
)
def test_the_nearest_name_is_what_to_type_else_the_own_one(sd, typed, meant):
    with pytest.raises(ConfigurationError) as caught:
        apply_scheduler(sd, typed)
    assert caught.value.hint == f"--sd-scheduler {meant}"


@pytest.mark.parametrize("name", ["NoSuchScheduler", "AutoencoderKL", "__class__", ""])
def test_another_name_lists_those_that_suit(sd, name):
    with pytest.raises(ConfigurationError, match=r"DDIMScheduler.*UniPC") as caught:
        apply_scheduler(sd, name)
    assert caught.value.got == name
