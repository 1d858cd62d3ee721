"""``--sd-profile``: what it sets, what is typed beside it, and what an ini file says."""

from types import SimpleNamespace

import pytest

from sdperf.cli.generate import choose_profile
from sdperf.errors import ConfigurationError
from sdperf.plugin.options import read_settings
from sdperf.settings import OPTIONS, SWITCHES
from sdperf.store.profile import Profile, format_profile

TUNED = Profile(
    "embedded",
    9,
    2.5,
    scheduler="UniPCMultistepScheduler",
    precision="bf16",
    mode="async",
    workers=2,
    optimisations=("device_loop", "batch2"),
)


class Config:
    """What pytest knows: typed options and an ini file, by the options' names."""

    def __init__(self, root, typed, ini):
        self.rootpath = root
        self.typed = {f"--sd-{name}": value for name, value in typed.items()}
        self.ini = {option.ini: option.default for option in (*OPTIONS, *SWITCHES)}
        self.ini |= {f"sd_{name}": value for name, value in ini.items()}

    def getoption(self, flag):
        return self.typed.get(flag)

    def getini(self, name):
        return self.ini[name]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sdperf-tuned.toml"
    path.write_text(format_profile(TUNED))
    return path


def test_a_profile_sets_workload_and_matrix(tmp_path, file):
    settings = read_settings(Config(tmp_path, {"profile": str(file)}, {}))
    workload = settings.workload
    assert (workload.num_inference_steps, workload.guidance_scale) == (9, 2.5)
    assert workload.scheduler == "UniPCMultistepScheduler"
    assert (settings.precisions, settings.modes, settings.workers) == (("bf16",), ("async",), (2,))
    assert settings.optimisations == (("device_loop", "batch2"),)
    assert not settings.precision_is_auto


def test_a_profile_brings_its_engine_and_one_without_means_torch(tmp_path, file):
    hosted = tmp_path / "hosted.toml"
    hosted.write_text(format_profile(Profile("embedded", 9, 2.5, engine="openvino")))
    settings = read_settings(Config(tmp_path, {"profile": str(hosted)}, {}))
    assert (settings.engines, settings.engine_is_auto) == (("openvino",), False)
    ini = {"engine": "onnx"}
    assert read_settings(Config(tmp_path, {"profile": str(file)}, ini)).engines == ("torch",)
    typed = {"profile": str(hosted), "engine": "onnx"}
    assert read_settings(Config(tmp_path, typed, {})).engines == ("onnx",)
    with pytest.raises(ConfigurationError, match="draw from the prompt alone"):
        read_settings(Config(tmp_path, {"profile": str(hosted), "task": "image-to-image"}, {}))


def test_what_is_typed_wins_and_the_ini_file_loses(tmp_path, file):
    settings = read_settings(
        Config(tmp_path, {"profile": str(file), "steps": "30"}, {"steps": "7", "guidance": "1"})
    )
    assert settings.workload.num_inference_steps == 30
    assert settings.workload.guidance_scale == 2.5


def test_an_ini_file_can_name_the_profile(tmp_path, file):
    settings = read_settings(Config(tmp_path, {}, {"profile": str(file)}))
    assert settings.workload.num_inference_steps == 9


def test_without_a_profile_nothing_changes(tmp_path):
    settings = read_settings(Config(tmp_path, {}, {}))
    assert settings.workload.num_inference_steps == 20
    assert settings.optimisations is None


def test_a_profile_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_settings(Config(tmp_path, {"profile": str(tmp_path / "none.toml")}, {}))


def test_generate_takes_a_profile_too(file):
    def typed(**given):
        empty = dict.fromkeys(("profile", "model", "steps", "guidance", "size", "precision"))
        return SimpleNamespace(**empty | given)

    assert choose_profile(typed(profile=file)) == TUNED
    assert choose_profile(typed(profile=file, steps=4)).num_inference_steps == 4
    assert choose_profile(typed()) == Profile("embedded", 20, 3.0)
    assert choose_profile(typed(model="stabilityai/sd-turbo")).num_inference_steps == 1
