"""The adapters that ship, each with a stand-in of what it drives: real runs are in docs/results."""

import dataclasses
import io
import json
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from sdperf.engines.external.piped import PipedProgram
from sdperf.engines.external.program import LoadRequest, fill_own_places
from sdperf.engines.external.protocol import GivenPicture
from sdperf.errors import GenerationError, WorkerError
from sdperf.record.workload import ImageRequest, Workload
from tests.support import comfyui_standin

WORKLOAD = Workload("embedded", ("fox",), 3, 2.0, width=64, height=48, negative_prompt="bad")
SD_CPP = """
import json, os
from PIL import Image

class StableDiffusion:
    def __init__(self, model_path, n_threads, wtype, vae_decode_only, verbose):
        print("loading", model_path, wtype, flush=True)
        os.write(1, b"printed by C\\n")
        self.wtype = wtype
        assert not vae_decode_only

    def generate_image(self, prompt, negative_prompt, width, height, seed, sample_steps,
                       sample_method, progress_callback, cfg_scale, init_image=None,
                       mask_image=None, strength=0.75):
        if prompt == "fail":
            raise ValueError("NULL pointer access")
        assert (negative_prompt, sample_method, cfg_scale) == ("bad", "euler", 2.0)
        progress_callback(1, 900, 0.0)  # tensors are loaded lazily
        if init_image is not None:
            assert (init_image.mode, init_image.size) == ("RGB", (width, height))
            assert mask_image is None or mask_image.mode == "L"
            prompt = "x" * (init_image.getpixel((0, 0))[0] + (mask_image is not None))
            sample_steps = min(sample_steps, int(sample_steps * strength) + 1)
        for step in range(sample_steps + 1):
            progress_callback(step, sample_steps, 0.0)
        return [Image.new("RGBA", (width, height), (seed, len(prompt), 0, 255))]

    def close(self):
        print("closed", flush=True)
"""
MFLUX = """
import mlx.core as mx
import time
from PIL import Image

clear, clears = mx.clear_cache, []

def note_clear():
    clears.append(1)
    clear()

mx.clear_cache = note_clear

class Registry:
    def register(self, callback):
        self.callback = callback

class Model:
    def __init__(self, bits):
        self.bits, self.callbacks = bits, Registry()

    def parameters(self):
        return {"weight": mx.zeros((8, 4))}

    def generate_image(self, seed, prompt, num_inference_steps, width, height, guidance,
                       image_path=None, image_strength=None):
        if image_path is not None:
            prompt = "x" * Image.open(image_path).getpixel((0, 0))[0]
            num_inference_steps -= max(1, int(num_inference_steps * image_strength))
        print("clears:", len(clears), "at", width, flush=True)
        latents = mx.random.normal((4,), key=mx.random.key(seed))
        called = self.callbacks.callback
        called.call_before_loop(seed=seed, latents=latents, config=None)
        for t in range(num_inference_steps):
            called.call_in_loop(t=t, seed=seed, latents=latents, config=None)
        if prompt == "nan":
            latents = latents / 0.0 * 0.0
        called.call_after_loop(seed=seed, latents=latents, config=None)
        self.image = Image.new("RGB", (width, height), (seed, len(prompt), 0))
        return self

def make(bits):
    print("making", flush=True)
    return Model(bits)
"""


@pytest.fixture
def start(tmp_path):
    programs = []

    def start_adapter(name, *words):
        script = "{adapters}/" + name
        command = ("env", f"PYTHONPATH={tmp_path}", "{python}", script, *words)
        programs.append(PipedProgram(name, fill_own_places(command), 60.0))
        return programs[-1]

    yield start_adapter
    for program in programs:
        program.kill()


def load(program, folder=""):
    return program.load(LoadRequest("model", str(folder), "fp16", "auto"), 60.0)


def draw(program, prompt="fox", seed=7, given=None):
    (drawn,) = program.generate(WORKLOAD, [ImageRequest(prompt, seed)], 1, 1, given)
    return drawn


def give(red, mask=None, strength=0.7):
    """Give a picture of one colour to start from."""
    pngs = [io.BytesIO(), io.BytesIO()]
    Image.new("RGB", (64, 48), (red, 0, 0)).save(pngs[0], "PNG")
    Image.new("L", (64, 48), mask or 0).save(pngs[1], "PNG")
    masked = None if mask is None else pngs[1].getvalue()
    return GivenPicture(pngs[0].getvalue(), masked, strength)


def hear(program, words):
    """Wait for words of a program, which arrive by another pipe than its pictures."""
    for _ in range(500):
        if words in program.last_words():
            break
        time.sleep(0.01)
    assert words in program.last_words()


@pytest.fixture
def sd_cpp(tmp_path):
    (tmp_path / "stable_diffusion_cpp.py").write_text(SD_CPP)
    installed = tmp_path / "stable_diffusion_cpp_python-0.4.7.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: stable-diffusion-cpp-python\nVersion: 0.4.7\n"
    )


def test_stable_diffusion_cpp_is_driven(start, sd_cpp, tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights.safetensors").write_bytes(bytes(100))
    program = start("sdcpp.py")
    assert program.facts.version == "0.4.7"
    assert program.facts.precisions == ("fp32", "fp16", "bf16")
    assert load(program, tmp_path).model_bytes == 100
    drawn = draw(program)
    assert drawn.pixels.shape == (48, 64, 3)
    assert drawn.pixels[0, 0].tolist() == [7, 3, 0]
    assert drawn.header.steps == 3
    assert len(drawn.header.steps_s) == 3
    assert set(drawn.header.stages) == {"encode_prompt", "denoise", "decode_latents", "deliver"}
    with pytest.raises(GenerationError, match="ValueError: NULL pointer access"):
        draw(program, "fail")
    assert draw(program).png == drawn.png
    assert {"picture", "mask", "strength"} <= set(program.facts.accepts)
    started = draw(program, given=give(9))
    assert started.pixels[0, 0].tolist() == [7, 9, 0]
    assert started.header.steps == 3  # int(3 * 0.7) + 1, its own rule
    assert draw(program, given=give(9, mask=255)).pixels[0, 0].tolist() == [7, 10, 0]
    assert draw(program, given=give(9, strength=0.4)).header.steps == 2
    assert program.stop() == 0


def test_a_file_of_its_own_is_not_told_the_precision(start, sd_cpp, tmp_path):
    (tmp_path / "tiny-q8_0.gguf").write_bytes(bytes(50))
    program = start("sdcpp.py", "--model", str(tmp_path / "tiny-q8_0.gguf"))
    assert program.facts.model == "tiny-q8_0.gguf"
    assert program.facts.precisions == ()
    assert "model" not in program.facts.accepts
    assert load(program).model_bytes == 50


@pytest.mark.skipif(sys.platform == "win32", reason="MLX runs on macOS and Linux")
def test_mflux_is_driven(start, tmp_path):
    pytest.importorskip("mlx.core")
    made = tmp_path / "made.py"
    made.write_text(MFLUX)
    program = start("mflux_images.py", "--make", f"{made}:make", "--quantize", "8")
    assert program.facts.precision == "q8"
    assert program.facts.model == "made.py:make"
    assert load(program).model_bytes == 8 * 4 * 4
    drawn = draw(program)
    assert drawn.pixels[0, 0].tolist() == [7, 3, 0]
    assert drawn.header.steps == 3
    assert drawn.header.is_finite
    assert drawn.header.peak_bytes is not None
    assert set(drawn.header.stages) == {"encode_prompt", "denoise", "decode_latents", "deliver"}
    assert not draw(program, "nan").header.is_finite
    other = dataclasses.replace(WORKLOAD, width=80)
    for _ in range(2):
        program.generate(other, [ImageRequest("fox", 7)], 1)
    hear(program, "clears: 1 at 64 | clears: 2 at 80 | clears: 2 at 80")
    for case in (1, 1, 2):  # the same size, and another case
        program.generate(other, [ImageRequest("fox", 7)], 1, 1, None, case)
    hear(program, "clears: 3 at 80 | clears: 3 at 80 | clears: 4 at 80")
    assert {"picture", "strength"} <= set(program.facts.accepts)
    started = draw(program, given=give(9, strength=0.4))
    assert started.pixels[0, 0].tolist() == [7, 9, 0]
    assert started.header.steps == 2  # its strength is what stays of the picture


@pytest.fixture
def comfyui(start, tmp_path):
    """Start the adapter with a stand-in server; ``left_out`` are placeholders that it lacks."""

    def start_comfyui(fault="", *, starts_from=False, **left_out):
        standin = comfyui_standin
        text = json.dumps(standin.FROM_A_PICTURE if starts_from else standin.WORKFLOW)
        for name, value in left_out.items():
            text = text.replace(f'"{{{name}}}"', value)
        workflow = tmp_path / "api.json"
        workflow.write_text(text)
        server = f"{sys.executable} {comfyui_standin.__file__} --port {{port}} --fault '{fault}'"
        return start("comfyui.py", "--workflow", str(workflow), "--start", server)

    return start_comfyui


def test_comfyui_is_driven_over_its_websocket(comfyui):
    program = comfyui()
    facts = program.facts
    assert (facts.name, facts.version, facts.model) == ("ComfyUI", "0.9.0", "api.json")
    assert facts.accepts == ("steps", "guidance", "size")
    load(program)
    one, again, other = draw(program), draw(program), draw(program, seed=8)
    assert one.png == again.png != other.png
    assert one.pixels.shape == (48, 64, 3)
    for each in (one, again, other):  # none of them from ComfyUI's memory
        assert each.header.steps == 3
        assert len(each.header.steps_s) == 3
        assert {"encode_prompt", "denoise", "decode_latents"} <= set(each.header.stages)
    server = psutil.Process(program.pid).children()[0]
    assert program.stop() == 0
    assert not server.is_running()


def test_a_picture_is_uploaded_to_comfyui_and_named_in_the_workflow(comfyui):
    program = comfyui(starts_from=True)
    assert program.facts.accepts == ("steps", "guidance", "picture", "strength")
    one, again, other = (draw(program, given=give(red)) for red in (1, 1, 2))
    assert one.png == again.png != other.png
    assert draw(program, given=give(1, strength=0.4)).png != one.png
    for each in (one, again, other):
        assert "encode_image" in each.header.stages
    with pytest.raises(GenerationError, match=r"asks for the (picture|strength), which nobody"):
        draw(program)
    hear(program, "uploads: 2")


def test_loaders_of_a_workflow_keep_their_model(comfyui):
    program = comfyui()
    draw(program)
    draw(program, "another prompt")
    hear(program, "Requested to load toy (1)")
    assert "(2)" not in program.last_words()


def test_what_a_workflow_does_not_ask_for_cannot_be_told(comfyui):
    program = comfyui(guidance="2.0", width="64", height="48")
    assert program.facts.accepts == ("steps",)
    assert draw(program).pixels.shape == (48, 64, 3)


def test_each_fault_of_a_server_is_one_message(comfyui):
    with pytest.raises(GenerationError, match="ComfyUI failed in KSampler: out of memory"):
        draw(comfyui("error"))


def test_an_adapter_whose_server_is_gone_ends_so_that_the_next_case_gets_a_fresh_one(comfyui):
    gone = comfyui("gone")
    words = r"ended during a picture; got: exit code 1; it said: .*closed the connection in the mid"
    with pytest.raises(WorkerError, match=words):
        draw(gone)
    killed = comfyui()
    draw(killed)
    for one in psutil.Process(killed.pid).children():
        one.kill()
        while one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    with pytest.raises(WorkerError, match=r"exit code 1; it said: .*ComfyUI does not answer any"):
        draw(killed)
    assert draw(comfyui()).header.steps == 3


def test_no_server_is_one_message(start, tmp_path):
    (tmp_path / "api.json").write_text("{}")
    with pytest.raises(GenerationError, match="the server ended: exit 3"):
        start("comfyui.py", "--workflow", str(tmp_path / "api.json"), "--start", "sh -c 'exit 3'")


def test_adapters_lie_in_the_package_and_name_no_module_that_they_import():
    adapters = Path(fill_own_places(["{adapters}"])[0])
    names = {path.stem for path in adapters.glob("*.py")} - {"__init__"}
    assert names == {"comfyui", "sdcpp", "mflux_images", "serving"}
