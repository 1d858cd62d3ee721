"""A model is found and checked, or refused with one clear message, before torch is loaded."""

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdperf.errors import ModelError
from sdperf.models import finding, loader
from sdperf.models.finding import find_index
from sdperf.models.layout import Component, parse_model_index, select_files
from sdperf.models.loader import resolve_model
from tests.support import tiny_pipelines

UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return Path(shutil.copytree(tiny_folder("sd"), tmp_path / "model"))


@pytest.fixture
def no_hub(monkeypatch):
    """Every question to the hub is a failure of the test."""

    def ask(*args, **keywords):
        pytest.fail("the hub was asked")

    for name in ("HfApi", "hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, name, ask)


def refused(name, message):
    with pytest.raises(ModelError, match=message) as caught:
        resolve_model(str(name), cache_dir=Path(os.devnull))
    assert caught.value.hint
    return caught.value


def test_a_folder_is_described_whole(folder):
    model = resolve_model(str(folder))
    assert model.folder == folder
    assert model.pipeline_class == "StableDiffusionPipeline"
    assert model.variant is None
    assert set(model.files) == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }
    assert len(model.model_hash) == 64


def test_resolving_loads_neither_torch_nor_diffusers(folder):
    code = (
        "import sys; from sdperf.models.loader import resolve_model; resolve_model(sys.argv[1]);"
        "print(sorted({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    root = Path(loader.__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "~/absent", "../absent", "a/b/c"])
def test_what_looks_like_a_path_is_never_looked_up_on_the_hub(name, no_hub):
    refused(name, "does not exist")


@pytest.mark.parametrize(
    "name", ["nosuch.safetensors", "models/nosuch.gguf", "nosuch.CKPT", "nosuch.pt"]
)
def test_a_file_that_is_not_there_is_never_looked_up_on_the_hub(name, no_hub):
    error = refused(name, "no such file")
    assert "hf download" not in str(error)
    with pytest.raises(ModelError, match="no such file"):
        finding.find_index(name)


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_refused(name, no_hub):
    refused(name, "empty")


@pytest.mark.parametrize("name", ["nul\0byte", "x" * 5000, "~nobody-of-this-name/x"])
def test_names_that_no_file_system_takes_are_refused(name, no_hub):
    refused(name, "does not exist")


def test_the_embedded_model_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(finding, "_EMBEDDED_FOLDER", tmp_path)
    refused("embedded", "not part of this installation")


def test_a_folder_that_is_no_pipeline(tmp_path):
    refused(tmp_path, "without model_index.json")


def test_a_single_file_is_told_how_to_become_a_folder(tmp_path):
    checkpoint = tmp_path / "model.ckpt"
    checkpoint.write_bytes(b"")
    assert "from_single_file" in refused(checkpoint, "is a file").hint
    other = tmp_path / "notes.txt"
    other.write_bytes(b"")
    assert "from_single_file" not in refused(other, "is a file").hint


def test_a_missing_component_folder_is_named(folder):
    shutil.rmtree(folder / "vae")
    refused(folder, "no folder vae/")


def test_a_missing_configuration_is_named(folder):
    (folder / "scheduler/scheduler_config.json").unlink()
    (folder / "scheduler/notes.txt").write_text("not a configuration", encoding="utf-8")
    refused(folder, "no scheduler/scheduler_config.json")


def test_a_damaged_configuration_is_named(folder):
    (folder / "unet/config.json").write_text("{", encoding="utf-8")
    refused(folder, "unet/config.json of .* is not valid JSON")


def test_missing_weights_are_named(folder):
    (folder / UNET_WEIGHTS).unlink()
    refused(folder, "no complete weights in unet/")


def test_pickles_are_refused_and_named(folder):
    (folder / UNET_WEIGHTS).rename(folder / "unet/diffusion_pytorch_model.bin")
    error = refused(folder, "pickles.*unet/diffusion_pytorch_model.bin")
    assert "save_pretrained" in error.hint


def test_a_pickle_beside_safetensors_is_left_alone(folder):
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(b"hostile")
    assert not [name for name in resolve_model(str(folder)).files if name.endswith(".bin")]


@pytest.mark.parametrize("kept", [0, 5, 8, 100, 20_000])
def test_truncated_weights(folder, kept):
    path = folder / UNET_WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    refused(folder, f"{UNET_WEIGHTS} of .* is truncated")


def test_weights_that_go_on_after_the_last_tensor(folder):
    with (folder / UNET_WEIGHTS).open("ab") as file:
        file.write(b"more")
    refused(folder, "goes on after its last tensor")


def test_a_git_lfs_pointer(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n"
    (folder / UNET_WEIGHTS).write_text(pointer, encoding="utf-8")
    assert refused(folder, "Git LFS pointer").hint == "git lfs pull"


@pytest.mark.parametrize(
    "entry",
    [None, [], {}, {"data_offsets": [4, 0]}, {"data_offsets": [True, 1]}, {"data_offsets": "04"}],
)
def test_a_damaged_safetensors_header(folder, entry):
    header = json.dumps({"weight": entry}).encode()
    (folder / UNET_WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header)
    refused(folder, "header of .* is damaged")


def test_files_that_cannot_be_read(folder, monkeypatch):
    def forbidden(path, where):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(loader, "check_safetensors", forbidden)
    refused(folder, "cannot be read.*Permission denied")


# The index and the choice of files


def index_of(**overrides):
    document = {
        "_class_name": "StableDiffusionPipeline",
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        **overrides,
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"_class_name": None}, "names no pipeline class"),
        ({"_class_name": ["pipeline", "Custom"]}, "names no pipeline class.*--sd-subject"),
        ({"_class_name": "StableDiffusionUpscalePipeline"}, "no pipeline that draws from a"),
        ({"_class_name": "StableVideoDiffusionPipeline"}, "no pipeline that draws from a"),
        ({"vae": None}, "without vae"),
        ({"unet": [None, None]}, "without unet or transformer"),
        ({"text_encoder": [], "tokenizer": []}, "entry that cannot be used"),
        ({"text_encoder": None, "tokenizer": None}, "without text_encoder, tokenizer"),
        ({"../escape": ["diffusers", "UNet2DConditionModel"]}, "entry that cannot be used"),
    ],
)
def test_an_index_of_something_else_is_refused(overrides, message):
    with pytest.raises(ModelError, match=message):
        parse_model_index(index_of(**overrides), "the model")


def test_parts_that_are_null_or_unneeded_are_not_loaded():
    index = parse_model_index(
        index_of(
            safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
            image_encoder=[None, None],
            text_encoder_3=[None, None],
            requires_safety_checker=True,
        ),
        "the model",
    )
    assert index.not_loaded == ("image_encoder", "safety_checker", "text_encoder_3")
    assert [part.name for part in index.components] == ["text_encoder", "tokenizer", "unet", "vae"]


@pytest.mark.parametrize(
    "overrides",
    [
        {"_class_name": "Krea2Pipeline", "text_encoder_select_layers": [2, 5, 8]},
        {"_class_name": "Kandinsky3Pipeline", "vae": None, "movq": ["diffusers", "VQModel"]},
        {"_class_name": "IFPipeline", "vae": [None, None]},
        {
            "_class_name": "QwenImage21Pipeline",
            "tokenizer": None,
            "processor": ["transformers", "Qwen3VLProcessor"],
        },
        {
            "_class_name": "KandinskyV22CombinedPipeline",
            "text_encoder": None,
            "tokenizer": None,
            "prior_text_encoder": ["transformers", "CLIPTextModelWithProjection"],
            "prior_tokenizer": ["transformers", "CLIPTokenizer"],
        },
    ],
    ids=lambda overrides: overrides["_class_name"],
)
def test_pipelines_that_name_their_parts_in_other_words_are_taken(overrides):
    index = parse_model_index(index_of(**overrides), "the model")
    assert index.pipeline_class == overrides["_class_name"]
    assert "text_encoder_select_layers" not in {part.name for part in index.components}


@pytest.mark.parametrize(
    ("name", "class_name", "has_weights"),
    [
        ("tokenizer_2", "CLIPTokenizer", False),
        ("prior_tokenizer", "CLIPTokenizer", False),
        ("prior_image_processor", "CLIPImageProcessorPil", False),
        ("siglip_processor", "Siglip2ImageProcessorFast", False),
        ("prior_scheduler", "UnCLIPScheduler", False),
        ("prior_prior", "PriorTransformer", True),
        ("prior_text_encoder", "CLIPTextModelWithProjection", True),
    ],
)
def test_a_part_is_a_network_unless_its_name_or_class_says_otherwise(name, class_name, has_weights):
    assert Component(name, "transformers", class_name).has_weights is has_weights


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["_class_name", "vae", "unet", "text_encoder", "tokenizer", "scheduler", "safety_checker"]
)


@given(JSON | st.dictionaries(NAMES, JSON | st.lists(st.text(max_size=8), max_size=3)))
def test_a_hostile_index_is_a_model_error_or_an_index(document):
    with contextlib.suppress(ModelError):
        assert parse_model_index(json.dumps(document).encode(), "the model").components


@given(st.binary(max_size=200))
def test_hostile_bytes_are_a_model_error(content):
    with pytest.raises(ModelError):
        parse_model_index(content, "the model")


def test_json_nested_too_deep_is_a_model_error():
    with pytest.raises(ModelError, match="not valid JSON"):
        parse_model_index(b"[" * 100_000, "the model")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(entries=st.dictionaries(NAMES, JSON))
def test_a_hostile_folder_is_a_model_error_or_a_model(folder, entries):
    document = json.loads(index_of(scheduler=["diffusers", "PNDMScheduler"]))
    (folder / "model_index.json").write_text(json.dumps({**document, **entries}), "utf-8")
    with contextlib.suppress(ModelError):
        assert resolve_model(str(folder)).files


BASE = (
    "model_index.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer.json",
    "unet/config.json",
    "vae/config.json",
)
PLAIN = (
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
HALF = tuple(name.replace(".safetensors", ".fp16.safetensors") for name in PLAIN)
NEVER = (
    "v1-5-pruned.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.onnx",
    "unet/flax_model.msgpack",
    "unet/nested/config.json",
    "safety_checker/model.safetensors",
    "README.md",
)
SHARDS = tuple(f"unet/diffusion_pytorch_model-0000{part}-of-00002.safetensors" for part in (1, 2))


def select(*names):
    return select_files(names, parse_model_index(index_of(), "the model"), "the model")


def test_plain_weights_are_preferred_and_nothing_else_is_taken():
    selection = select(*BASE, *PLAIN, *HALF, *NEVER)
    assert selection.variant is None
    assert selection.names == tuple(sorted(BASE + PLAIN))


def test_fp16_weights_are_taken_where_a_part_has_no_others():
    selection = select(*BASE, PLAIN[0], *HALF[1:])
    assert selection.variant == "fp16"
    assert selection.weights == tuple(sorted((PLAIN[0], *HALF[1:])))


def test_shards_count_when_all_are_there():
    selection = select(*BASE, PLAIN[0], *SHARDS, PLAIN[2])
    assert set(SHARDS) <= set(selection.weights)
    with pytest.raises(ModelError, match="no complete weights in unet/"):
        select(*BASE, PLAIN[0], SHARDS[0], PLAIN[2])


# The hub


class FakeHub:
    """A hub of one repository, which `snapshot_download` copies as it was asked to."""

    def __init__(self, source, cache, monkeypatch):
        self.source, self.cache = source, cache
        self.asked, self.files, self.limits_s = [], [], []
        self.failure, self.endpoint = None, "http://hub"
        self.patience_s = []
        monkeypatch.setattr(finding, "_SILENT", set())
        monkeypatch.setattr(finding, "_TOLD", set())
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.hf_hub_download)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)

    def model_info(self, name, timeout):
        if self.failure is not None:
            raise self.failure
        assert 0 < timeout <= 60
        self.limits_s.append(timeout)
        files = [path for path in sorted(self.source.rglob("*")) if path.is_file()]
        names = [path.relative_to(self.source).as_posix() for path in files]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    def hf_hub_download(self, name, file, *, etag_timeout=10, local_files_only=False):
        self.files.append((file, local_files_only))
        self.patience_s.append(etag_timeout)
        if local_files_only and not self.cache.exists():
            raise errors.LocalEntryNotFoundError("nothing cached")
        return str((self.cache if local_files_only else self.source) / file)

    def snapshot_download(self, name, *, allow_patterns, etag_timeout=10, local_files_only=False):
        self.asked.append((tuple(allow_patterns), local_files_only))
        if local_files_only:
            if not self.cache.exists():
                raise errors.LocalEntryNotFoundError("nothing cached")
            return str(self.cache)
        for pattern in allow_patterns:
            for path in self.source.glob(pattern):
                target = self.cache / path.relative_to(self.source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        return str(self.cache)


@pytest.fixture
def hub(tiny_folder, tmp_path, monkeypatch):
    source = Path(shutil.copytree(tiny_folder("sd"), tmp_path / "source"))
    (source / "unet/diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (source / "unet/diffusion_pytorch_model.fp16.safetensors").write_bytes(b"unwanted")
    (source / "model.ckpt").write_bytes(b"pickle")
    return FakeHub(source, tmp_path / "cache", monkeypatch)


def test_a_hub_model_is_fetched_without_pickles_and_unneeded_variants(hub):
    model = resolve_model("someone/some-model")
    assert model.folder == hub.cache
    fetched = {
        path.relative_to(hub.cache).as_posix() for path in hub.cache.rglob("*") if path.is_file()
    }
    assert fetched == set(model.files)
    assert not [name for name in fetched if name.endswith((".bin", ".ckpt", ".fp16.safetensors"))]


def test_offline_takes_the_cache_and_asks_nothing(hub):
    resolve_model("someone/some-model")
    hub.failure = AssertionError("asked")
    assert resolve_model("someone/some-model", offline=True).folder == hub.cache
    assert hub.asked[-1] == (("model_index.json",), True)


def test_an_unreachable_hub_falls_back_to_the_cache(hub):
    resolve_model("someone/some-model")
    hub.failure = ConnectionError("no route")
    assert resolve_model("someone/some-model").folder == hub.cache


def response_error(kind):
    request = SimpleNamespace(method="GET", url="https://hub")
    response = SimpleNamespace(headers={}, request=request, status_code=404)
    return kind("refused", response=response)


@pytest.mark.parametrize(
    ("failure", "message", "hint"),
    [
        (lambda: ConnectionError("no route"), "could not be fetched", "check the network"),
        (lambda: errors.OfflineModeIsEnabled("off"), "while offline", "hf download"),
        (lambda: response_error(errors.RepositoryNotFoundError), "has none of this name", "check"),
        (lambda: response_error(errors.GatedRepoError), "accept terms", "hf auth login"),
        (lambda: errors.HFValidationError("bad"), "has none of this name", "check the name"),
    ],
)
def test_each_failure_of_the_hub_has_its_own_message(hub, failure, message, hint):
    hub.failure = failure()
    error = refused("someone/some-model", message)
    assert hint in error.hint


class ConnectError(Exception):
    """The name of what the HTTP clients of newer hub versions raise without a network."""


class TimeoutException(Exception):
    """The name of what they raise where something takes too long."""


class ReadTimeout(TimeoutException):
    """The name of what they raise where the answer is slow."""


class ServerError(Exception):
    """Something else."""


@pytest.mark.parametrize(
    "failure", [ConnectionError("no route"), ConnectError("no name"), errors.OfflineModeIsEnabled()]
)
def test_without_a_network_no_download_is_tried_which_would_wait_for_one(hub, failure):
    hub.failure = failure
    with pytest.raises(ModelError, match="is not a local folder") as told:
        find_index("someone/some-model")
    assert hub.files == [("model_index.json", True)]
    if isinstance(failure, ConnectError):
        assert told.value.got == "ConnectError: no name"
    shutil.copytree(hub.source, hub.cache)
    assert find_index("someone/some-model", ["x.json"]) == hub.cache / "model_index.json"
    assert hub.files[1:] == [("model_index.json", True), ("x.json", True)]


def test_a_strange_answer_leaves_it_to_the_download_which_tries_again(hub):
    hub.failure = ServerError("502")
    assert find_index("someone/some-model") == hub.source / "model_index.json"
    assert hub.files == [("model_index.json", False)]


def test_a_download_that_finds_no_cached_file_tells_what_the_hub_said(hub, monkeypatch):
    hub.failure = ServerError("502")

    def download(*_arguments, **_named):
        raise errors.LocalEntryNotFoundError("cannot find the file on the hub, nor in the cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ModelError, match="could not be fetched from the hub") as told:
        find_index("someone/some-model")
    assert told.value.got == "ServerError: 502"


@pytest.fixture
def silent_hub(tmp_path, monkeypatch):
    """A hub that takes every connection and never answers; the command waits for a moment only."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        api = huggingface_hub.HfApi(endpoint=endpoint)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 0)
        monkeypatch.setattr(finding, "_HUB_LIMIT_S", 0.05)
        monkeypatch.setattr(finding, "_SILENT", set())
        monkeypatch.setattr(finding, "_TOLD", set())
        yield


@pytest.mark.parametrize("find", [find_index, resolve_model])
def test_a_hub_that_never_answers_is_asked_once_and_not_downloaded_from(
    find, silent_hub, monkeypatch
):
    downloads = []

    def download(*_arguments, local_files_only=False, **_named):
        downloads.append(local_files_only)
        raise errors.LocalEntryNotFoundError("nothing cached")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelError, match="the hub does not answer in time") as told:
        find("someone/some-model")
    assert downloads == [True]
    assert told.value.expected == "a word within 0.05 s, or the model in the hub's cache"
    for word in ("--sd-model a local folder", "hf download someone/some-model", "HF_HUB_OFFLINE=1"):
        assert word in told.value.hint


def test_a_slow_hub_falls_back_to_the_cache(hub):
    shutil.copytree(hub.source, hub.cache)
    hub.failure = ReadTimeout("15 s")
    assert find_index("someone/some-model") == hub.cache / "model_index.json"
    assert hub.files == [("model_index.json", True)]
    assert resolve_model("someone/some-model").folder == hub.cache


def test_a_silent_hub_is_waited_for_once_and_the_cache_is_told_once(hub, capsys):
    shutil.copytree(hub.source, hub.cache)
    hub.failure, asked = ReadTimeout("15 s"), []
    hub.model_info = lambda *_arguments, **_named: asked.append(1) or hub_fails(hub)
    for find in (find_index, resolve_model, find_index):
        find("someone/some-model")
    assert asked == [1]
    assert capsys.readouterr().err == (
        "sdperf: the model 'someone/some-model' comes from the hub's cache: http://hub did not "
        "answer within 15 s\n"
    )
    hub.endpoint = "http://another"
    find_index("someone/some-model")
    assert asked == [1, 1]


def hub_fails(hub):
    raise hub.failure


def test_only_the_client_has_a_limit_so_that_a_slow_hub_that_speaks_is_not_given_up(hub):
    """The client's limit holds for each wait for bytes; one for the whole needs another thread."""
    threads, answer = [], hub.model_info

    def model_info(name, timeout):
        threads.append(threading.current_thread())
        return answer(name, timeout)

    hub.model_info = model_info
    find_index("someone/some-model")
    resolve_model("someone/some-model")
    assert threads == [threading.current_thread()] * 2
    assert hub.limits_s == [15.0, 15.0]


def test_a_download_waits_as_long_for_the_hub_as_the_question(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 40)
    find_index("someone/some-model")
    resolve_model("someone/some-model")
    assert hub.patience_s == [40.0, 40.0]


def test_a_download_that_the_hub_left_alone_is_not_called_offline(hub, monkeypatch):
    def download(*_arguments, **_named):
        raise errors.LocalEntryNotFoundError("nothing cached") from ReadTimeout("15 s")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for find in (find_index, resolve_model):
        with pytest.raises(ModelError, match="the hub does not answer in time"):
            find("someone/some-model")


def test_a_slow_network_may_ask_for_more_time(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 40)
    resolve_model("someone/some-model")
    assert hub.limits_s == [40.0]


def test_offline_without_a_cache(hub):
    with pytest.raises(ModelError, match="while offline"):
        resolve_model("someone/some-model", offline=True)


def test_a_hub_repository_that_is_no_pipeline(hub):
    (hub.source / "model_index.json").unlink()
    refused("someone/some-model", "on the hub is not a diffusers pipeline")


def test_a_hub_model_of_pickles_is_refused_before_it_is_fetched(hub):
    for path in hub.source.glob("unet/*.safetensors"):
        path.unlink()
    refused("someone/some-model", "pickles")
    assert not hub.asked


def test_a_download_that_breaks_off(hub, monkeypatch):
    def broken(*args, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    refused("someone/some-model", "could not be fetched.*No space left")


def test_an_existing_folder_wins_over_the_hub(folder, monkeypatch, no_hub):
    monkeypatch.chdir(folder.parent)
    assert resolve_model("model").model_hash == tiny_pipelines.resolve(folder).model_hash
