"""A model folder decides no import: what it names or brings is refused before anything runs."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from evidence.mapped_pipelines import families
from sdperf.errors import ModelError
from sdperf.models.loader import import_components, load_pipeline, resolve_model
from sdperf.models.trust import check_configuration, find_library
from tests.support import tiny_pipelines

CODE = "import pathlib\npathlib.Path({marker!r}).touch()\nclass DPMSolverMultistepScheduler: pass\n"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return Path(shutil.copytree(tiny_folder("sd"), tmp_path / "evilmodel"))


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that the attack makes where its code runs; its folder can be imported from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "executed"
    assert not (tmp_path / "executed").exists()


def plant(folder, marker, name):
    (folder / name).write_text(CODE.format(marker=str(marker)), encoding="utf-8")


def name_part(folder, part, library, class_name):
    path = folder / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index[part] = [library, class_name]
    path.write_text(json.dumps(index), encoding="utf-8")


def every_way_refuses(checked, folder, message):
    """The check before a session, the import ahead and the load each refuse by themselves."""
    with pytest.raises(ModelError, match=message):
        resolve_model(str(folder))
    with pytest.raises(ModelError, match=message):
        import_components(checked)
    with pytest.raises(ModelError, match=message):
        load_pipeline(checked, torch_dtype=torch.float32, device="cpu")


@pytest.mark.parametrize("name", ["adapter_config.json", "Adapter_Config.json"])
def test_an_adapter_in_the_folder_is_refused_which_transformers_would_load(folder, name):
    checked = tiny_pipelines.resolve(folder)
    said = {"peft_type": "LORA", "r": 10**12, "layer_replication": [[0, 10**6]]}
    (folder / "text_encoder" / name).write_text(json.dumps(said))
    every_way_refuses(checked, folder, f"brings an adapter, .*text_encoder/{name}")


def test_a_module_in_the_folder_is_never_imported(folder, marker):
    checked = tiny_pipelines.resolve(folder)
    plant(folder, marker, "payload.py")
    name_part(folder, "scheduler", "evilmodel.payload", "DPMSolverMultistepScheduler")
    every_way_refuses(checked, folder, "a library that sdperf does not load from")


@pytest.mark.parametrize("library", ["os", "tests.models.test_trust", "diffusers.utils", "a b", ""])
def test_no_installed_module_is_a_library_of_parts(folder, library):
    checked = tiny_pipelines.resolve(folder)
    name_part(folder, "scheduler", library, "DPMSolverMultistepScheduler")
    every_way_refuses(checked, folder, "a library that sdperf does not load from")


def test_a_name_that_diffusers_lacks_here_is_not_imported_instead(folder, marker, monkeypatch):
    (marker.parent / "kolors.py").write_text(CODE.format(marker=str(marker)), encoding="utf-8")
    monkeypatch.delattr("diffusers.pipelines.kolors", raising=False)
    checked = tiny_pipelines.resolve(folder)
    name_part(folder, "scheduler", "kolors", "DPMSolverMultistepScheduler")
    import_components(checked)
    # Where its tokenizer is installed, diffusers has the name, but not this class.
    with pytest.raises(ModelError, match=r"cannot be used here|names a class for its scheduler"):
        load_pipeline(checked, torch_dtype=torch.float32, device="cpu")
    assert "kolors" not in sys.modules


def test_pipelines_of_diffusers_are_libraries_and_nothing_else_is():
    assert find_library("stable_diffusion").__name__ == "diffusers.pipelines.stable_diffusion"
    with pytest.raises(ModelError, match="allow list"):
        find_library("this")
    assert "this" not in sys.modules


@pytest.mark.parametrize("file", ["unet/diffusers.py", "text_encoder/x.so", "None.py"])
def test_code_beside_a_part_is_refused(folder, marker, file):
    checked = tiny_pipelines.resolve(folder)
    plant(folder, marker, file)
    every_way_refuses(checked, folder, f"runs no code from a model folder.*{file}")


def test_a_script_in_the_root_is_left_alone(folder, marker):
    checked = tiny_pipelines.resolve(folder)
    plant(folder, marker, "pipeline.py")
    plant(folder, marker, "diffusers.py")
    import_components(checked)
    load_pipeline(checked, torch_dtype=torch.float32, device="cpu")


@pytest.mark.parametrize("file", ["text_encoder/config.json", "tokenizer/tokenizer_config.json"])
@pytest.mark.parametrize(
    "entry",
    [
        {"auto_map": {"AutoModel": "payload.Model"}},
        {"text_config": [{"auto_map": {"AutoConfig": "someone/else--payload.Config"}}]},
        {"attn_implementation": "someone/kernel"},
        {"_attn_implementation": {"": "someone/kernel"}},
    ],
)
def test_a_configuration_that_names_code_is_refused(folder, marker, file, entry):
    checked = tiny_pipelines.resolve(folder)
    plant(folder, marker, "payload.py")
    document = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(document | entry), encoding="utf-8")
    every_way_refuses(checked, folder, "names code to run")


def test_words_of_a_vocabulary_are_no_code():
    check_configuration({"auto_map": 17, "attn_implementation": "sdpa"}, "vocab.json")


def test_a_pipeline_class_of_its_own_is_refused(folder, marker):
    checked = tiny_pipelines.resolve(folder)
    plant(folder, marker, "payload.py")
    path = folder / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(index | {"_class_name": ["payload", "Pipeline"]}), encoding="utf-8")
    every_way_refuses(checked, folder, "names no pipeline class of diffusers")


@pytest.mark.parametrize("name", list(families.FAMILIES))
def test_every_known_family_is_let_through(tiny_folder, name):
    assert resolve_model(str(tiny_folder(name))).pipeline_class
