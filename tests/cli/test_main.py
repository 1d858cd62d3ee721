import subprocess
import sys

import pytest
from PIL import Image

from sdperf.cli import COMMANDS, main
from sdperf.images.png import decode_png
from sdperf.store.profile import Profile, format_profile
from tests.support.tiny_pipelines import tiny_folder

__all__ = ["tiny_folder"]


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )


def test_the_package_is_the_command_where_no_script_is_on_the_path():
    done = subprocess.run(
        [sys.executable, "-m", "sdperf", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("sdperf ")


def test_help_teaches_the_main_job_and_loads_no_torch(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "pytest benchmarks --benchmark-compare" in shown
    assert max(map(len, shown.splitlines())) <= 100
    code = (
        "import sys, contextlib\nfrom sdperf.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "import sdperf.plugin\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    run_python(code)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100


def test_a_command_that_is_none_is_one_line_with_the_nearest(capsys):
    assert main(["swep", "--commits", "a..b"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sdperf: there is no command swep; expected: one of ab, baseline,")
    assert line.endswith("do: sdperf sweep --help")
    assert main(["zzz\x1b[31m"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in line
    assert line.endswith("do: sdperf --help")


@pytest.mark.parametrize(
    ("words", "usage", "told"),
    [
        (
            ["compare", "a.json", "b.json", "--max-slodown=3%"],
            "usage: sdperf compare ",
            "sdperf compare: there is no option --max-slodown; expected: --max-slowdown, probably; "
            "do: sdperf compare --help",
        ),
        (
            ["baseline", "accept", "--reason=x", "--\x1b[31mzzz"],
            "usage: sdperf baseline accept ",
            "sdperf baseline accept: there is no option --?[31mzzz; "
            "do: sdperf baseline accept --help",
        ),
        (
            ["doctor", "mine", "--json"],
            "usage: sdperf doctor ",
            "sdperf doctor: it does not take mine; expected: what its usage names; "
            "do: sdperf doctor --help",
        ),
        (
            ["--versoin"],
            "usage: sdperf ",
            "sdperf: there is no option --versoin; expected: --version, probably; "
            "do: sdperf --help",
        ),
    ],
)
def test_what_a_command_does_not_know_is_refused_with_its_own_usage(words, usage, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith(usage)
    assert shown[-1] == told


def test_generate_draws_the_size_that_is_asked_for(tmp_path, tiny_folder):
    output = tmp_path / "apple.png"
    arguments = ["--model", str(tiny_folder("sd")), "--steps", "1", "--size", "64x40"]
    assert main(["generate", "red apple", "-o", str(output), *arguments]) == 0
    assert decode_png(output.read_bytes()).shape == (40, 64, 3)


def test_generate_writes_a_picture(tmp_path, tiny_folder, capsys):
    output = tmp_path / "apple.png"
    arguments = ["--model", str(tiny_folder("sd")), "--steps", "2", "--device", "cpu"]
    assert main(["generate", "red apple", "-o", str(output), *arguments]) == 0
    assert decode_png(output.read_bytes()).shape == (32, 32, 3)
    assert "'red apple'" in capsys.readouterr().out


def test_generate_draws_over_a_picture(tmp_path, tiny_folder):
    picture = tmp_path / "mine.png"
    Image.new("RGB", (64, 64), (200, 30, 30)).save(picture)
    fixed = ["--model", str(tiny_folder("sd")), "--steps", "2", "--device", "cpu"]
    drawn = []
    for number, more in enumerate(
        ([], ["--task", "image-to-image"], ["--input-image", str(picture), "--strength", "0.5"])
    ):
        output = tmp_path / f"{number}.png"
        assert main(["generate", "red apple", "-o", str(output), *fixed, *more]) == 0
        drawn.append(decode_png(output.read_bytes()).tobytes())
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "-o", "apple.jpg"], "a PNG"),
        (["x", "-o", "apple.png", "--task", "upscale"], "--task cannot be used"),
        (["x", "-o", "apple.png", "--strength", "2"], "--strength cannot be used"),
        (["x", "-o", "apple.png", "--input-image", "none.png"], "none.png"),
        (["x", "-o", "nowhere/apple.png"], "folder does not exist"),
        (["  ", "-o", "apple.png"], "prompts, none of them empty"),
        (["x", "-o", "apple.png", "--model", "./nowhere"], "does not exist"),
        (["x", "-o", "apple.png", "--steps", "0"], "a whole number, 1 to 10000"),
        (["x", "-o", "apple.png", "--seed", "-1"], "a whole number, 0 to"),
        (["x", "-o", "apple.png", "--size", "100x100"], "multiples of 8, such as 512x512"),
    ],
)
def test_generate_refuses_in_one_line_and_writes_nothing(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_generate_refuses_what_the_device_cannot_run_before_it_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    profile = tmp_path / "tuned.toml"
    profile.write_text(format_profile(Profile("embedded", 2, 3.0, optimisations=("loop_graph",))))
    words = ["red apple", "-o", "apple.png", "--device", "cpu", "--profile", str(profile)]
    assert main(["generate", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sdperf generate: loop_graph cannot be used on cpu: ")
    assert list(tmp_path.iterdir()) == [profile]


WITHOUT = """
import sys
sys.modules["{package}"] = None
from sdperf.cli import main
sys.exit(main({arguments!r}))
"""


@pytest.mark.parametrize(
    ("package", "arguments"),
    [("torch", ["generate", "a cat", "-o", "cat.png"]), ("numpy", ["compare", "a.json", "b.json"])],
)
def test_a_command_without_a_package_that_it_needs_names_it(package, arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(package=package, arguments=arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = f"the package {package} is not installed; do: pip install {package}"
    assert done.stderr.splitlines()[-1].endswith(f": {said}")
