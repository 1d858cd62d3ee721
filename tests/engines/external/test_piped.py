"""A program over pipes: what it draws, and one message for each way in which it goes wrong."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from sdperf.engines.external.piped import PipedProgram
from sdperf.engines.external.process import (
    MARK,
    ProcessKeeper,
    ProgramProcess,
    TooLongError,
    make_mark,
)
from sdperf.engines.external.program import LoadRequest
from sdperf.engines.external.protocol import GivenPicture
from sdperf.errors import EngineError, GenerationError, WorkerError
from sdperf.record.workload import ImageRequest, Workload
from sdperf.settings import kinds
from tests.support import external_toy

TOY = Path(external_toy.__file__)
WORKLOAD = Workload("hashes", ("a fox",), 3, None, width=64, height=48)
FOX = ImageRequest("a fox", 7)


@pytest.fixture
def start():
    programs = []

    def start_toy(fault="", *more, limit_s=60.0):
        command = [sys.executable, "-S", str(TOY), "--fault", fault, *more]
        programs.append(PipedProgram("toy", command, limit_s))
        return programs[-1]

    yield start_toy
    for program in programs:
        program.kill()


def is_gone(process):
    """Wait until a process has ended; whether anybody reaps it is not ours to say."""
    for _ in range(600):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def draw(program, *images, workload=WORKLOAD, at_once=1):
    return program.generate(workload, images or (FOX,), 1, at_once)


def test_a_program_is_described_loaded_asked_and_stopped(start):
    program = start()
    assert (program.facts.name, program.facts.version) == ("toy", "1.2.3")
    assert program.facts.accepts == ("steps", "size", "threads")
    loaded = program.load(LoadRequest("hashes", "", "fp32", "auto"), 60.0)
    assert (loaded.seconds, loaded.model_bytes) == (0.01, 1000)
    one, other = draw(program, FOX, ImageRequest("a fox", 8))
    assert one.pixels.shape == (48, 64, 3)
    assert (one.pixels != other.pixels).any()
    assert one.header.steps == 3
    assert set(one.header.stages) == {"denoise", "decode_latents"}
    assert 0 <= one.header.seconds <= one.latency_s
    assert program.read_peak_bytes() > 2**20
    assert program.read_resident_bytes() > 2**20
    assert program.read_cpu_s() > 0
    pid = program.pid
    assert program.stop() == 0
    assert not psutil.pid_exists(pid)


def test_requests_are_sent_ahead_where_the_program_takes_them(start):
    images = [ImageRequest("a fox", seed) for seed in range(5)]
    ahead = draw(start("queue"), *images, at_once=2)
    alone = draw(start(), *images)
    assert [one.png for one in ahead] == [one.png for one in alone]


def test_a_case_is_told_where_there_is_one(start, tmp_path):
    asked = tmp_path / "asked"
    program = start("", "--cases", str(asked))
    for case in (1, 1, 2, None):
        program.generate(WORKLOAD, (FOX,), 1, 1, None, case)
    assert [line.split()[1] for line in asked.read_text().splitlines()] == ["1", "1", "2", "None"]


def test_any_text_is_a_prompt(start):
    prompts = ['"quoted" \\ back', "two\nlines", "漢字 🦊", "$(reboot) `reboot` ; reboot", "-rf /"]
    program = start()
    drawn = draw(program, *(ImageRequest(prompt, 1) for prompt in prompts))
    assert len({one.png for one in drawn}) == len(prompts)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("crash", ["toy ended during a picture", "exit code 7", "it said: ", "out of crayons"]),
        ("midway", ["toy ended during a picture's bytes", "exit code 3"]),
        ("size", ["a picture of another size", "asked for 64 x 48 px, drawn 72 x 48 px"]),
        ("seed", ["drew with another seed", "got: 8", "expected: seed 7"]),
        ("no-png", ["what is no picture", "GIF89a"]),
        ("noise", ["printed on standard output what is no reply", "Loading pipeline"]),
        ("nan-seconds", ["printed on standard output what is no reply", "NaN"]),
    ],
)
def test_each_fault_is_one_message(start, fault, said):
    program = start(fault)
    with pytest.raises(WorkerError) as raised:
        draw(program)
    for words in said:
        assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_program_that_hangs_is_late_and_killed(start):
    program = start("hang", limit_s=0.5)
    with pytest.raises(WorkerError, match=r"outlived the time limit of a picture.*--sd-timeout"):
        draw(program)
    pid = program.pid
    program.kill()
    assert not psutil.pid_exists(pid)


def test_what_is_printed_unasked_is_found_at_the_next_request(start):
    program = start("stray")
    with pytest.raises(WorkerError, match=r"printed on standard output.*done!"):
        draw(program, FOX, FOX)


def test_nan_is_told_and_a_refusal_leaves_the_program_alive(start):
    assert not draw(start("nan"))[0].header.is_finite
    program = start("refuse")
    with pytest.raises(GenerationError, match="no paint left"):
        draw(program)
    with pytest.raises(GenerationError, match="no paint left"):
        draw(program)


def test_a_seed_that_the_program_cannot_tell_is_refused(start):
    program = start()
    program.facts = program.facts.__class__("toy", "1", "m", "cpu", largest_seed=6)
    with pytest.raises(GenerationError, match="at most 6"):
        draw(program)


def test_all_seeds_are_looked_at_before_a_picture_is_asked_for(start):
    program = start()
    program.facts = program.facts.__class__("toy", "1", "m", "cpu", largest_seed=7)
    with pytest.raises(GenerationError, match="got: 8; expected: at most 7"):
        draw(program, FOX, ImageRequest("a fox", 8), at_once=2)
    assert len(draw(program)) == 1  # nothing is under way


def test_another_version_and_a_missing_program_are_refused():
    with pytest.raises(EngineError, match=r"another version of the protocol; got: 99; expected: 1"):
        PipedProgram("toy", [sys.executable, str(TOY), "--fault", "version"], 60.0)
    with pytest.raises(EngineError, match="no-such-program: No such file"):
        PipedProgram("toy", ["no-such-program"], 60.0)
    with pytest.raises(WorkerError, match="ended during describe"):
        PipedProgram("toy", ["true"], 60.0)


def test_what_a_program_started_ends_with_it(start):
    program = start("child")
    draw(program)
    (child,) = psutil.Process(program.pid).children()
    program.kill()
    assert is_gone(child)


def test_a_helper_in_a_session_of_its_own_is_counted_and_ended(start, monkeypatch):
    monkeypatch.setattr("sdperf.engines.external.process._HELPERS_WAIT_S", 0.01)
    program = start("far-child")
    draw(program)
    (child,) = psutil.Process(program.pid).children()
    assert program.end() == 0
    assert program.count_leftovers() == 1
    program.kill()
    assert is_gone(child)


def find_daemons():
    """Find the toy's processes that forked twice."""
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if one.info["cmdline"] == ["sleep", "600.25"] and one.status() != psutil.STATUS_ZOMBIE
    ]


def await_daemon(before):
    """Return the new one, once it has become what it will be."""
    for _ in range(600):
        new = [one for one in find_daemons() if one not in before]
        if new:
            return new[0]
        time.sleep(0.05)
    raise AssertionError("no daemon was started")


def test_a_daemon_that_forked_twice_is_counted_and_ended(start, monkeypatch):
    monkeypatch.setattr("sdperf.engines.external.process._HELPERS_WAIT_S", 0.01)
    before = find_daemons()
    program = start("daemon")
    draw(program)
    daemon = await_daemon(before)
    assert daemon.pid not in {one.pid for one in psutil.Process(program.pid).children()}
    assert program.end() == 0
    assert program.count_leftovers() == 1
    program.kill()
    assert is_gone(daemon)


def test_a_program_that_will_not_stop_is_killed(start, monkeypatch):
    monkeypatch.setattr("sdperf.engines.external.piped.EXIT_WAIT_S", 0.3)
    program = start("stubborn")
    pid = program.pid
    assert program.stop() is None
    assert not psutil.pid_exists(pid)


def open_for_a_reader(fifo):
    for _ in range(6000):
        with contextlib.suppress(OSError):
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    pytest.fail("nobody reads")


def test_who_keeps_standard_error_open_is_not_waited_for(tmp_path, monkeypatch):
    """A helper that left the session and its environment lives on, until the test lets it end."""
    monkeypatch.setattr("sdperf.engines.external.process._WORDS_WAIT_S", 0.05)
    fifo = tmp_path / "until"
    os.mkfifo(fifo)
    script = (
        "import os\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execve('/bin/cat', ['cat', {str(fifo)!r}], {{}})\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    process = ProgramProcess([sys.executable, "-S", "-c", script])
    # The helper reads its end once it has left its environment; before, its mark would end it.
    writer = open_for_a_reader(fifo)
    try:
        assert process.wait(60.0) == 0
        killing = threading.Thread(target=process.kill, daemon=True)
        killing.start()
        killing.join(20.0)
        assert not killing.is_alive()
    finally:
        os.close(writer)


def test_a_program_may_take_longer_than_a_selector_can_wait():
    """A load has ten times the limit, and a selector takes milliseconds of 31 bits."""
    process = ProgramProcess(["cat"])
    try:
        deadline_s = time.monotonic() + 10 * kinds.MOST_SECONDS
        process.write(b"word\n", deadline_s, most_bytes=2**20)
        assert process.read_line(2**20, deadline_s) == b"word\n"
    finally:
        process.kill()


def test_what_a_program_prints_while_it_is_asked_has_a_limit():
    process = ProgramProcess(["yes"])
    try:
        with pytest.raises(TooLongError):
            process.write(b"x" * 2**22, time.monotonic() + 60.0, most_bytes=2**20)
    finally:
        process.kill()


def test_a_program_ends_with_the_process_that_asked_it():
    """Killed without warning, nobody is left to end it but its keeper."""
    script = (
        "import sys, time\n"
        "from sdperf.engines.external.piped import PipedProgram\n"
        "from tests.engines.external.test_piped import FOX, WORKLOAD\n"
        f"program = PipedProgram('toy', [sys.executable, {str(TOY)!r}, '--fault', 'daemon'], 60)\n"
        "program.generate(WORKLOAD, (FOX,), 1)\n"
        "print(program.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    before = find_daemons()
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    program = psutil.Process(int(owner.stdout.readline()))
    daemon = await_daemon(before)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert is_gone(program)
    if sys.platform == "linux":  # where environments are files, which the keeper can read
        assert is_gone(daemon)
    else:
        daemon.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="environments are files on Linux")
def test_a_keeper_ends_only_who_has_exactly_its_mark():
    mark = make_mark()
    keeper = ProcessKeeper(mark)
    plain = {"PATH": os.environ["PATH"]}
    bystanders = [
        {"NOTE": mark},
        {"NOTE": f"{MARK}={mark}"},
        {f"OTHER_{MARK}": mark},
        {MARK: f"{mark}0"},
    ]
    started = [
        subprocess.Popen(["sleep", "600"], env={**plain, **more})
        for more in ({MARK: mark}, *bystanders)
    ]
    try:
        keeper._shell.stdin.close()  # as when this process is gone
        keeper._shell.wait(60)
        assert started[0].wait(60) == -signal.SIGKILL
        assert [one.poll() for one in started[1:]] == [None] * len(bystanders)
    finally:
        for one in started:
            one.kill()
            one.wait()


def test_a_picture_to_start_from_follows_the_line(start):
    program = start("", "--takes", "picture mask strength")
    assert program.facts.accepts == ("steps", "size", "threads", "picture", "mask", "strength")
    png = external_toy.encode_png(8, 8, bytes(192))
    other = external_toy.encode_png(8, 8, bytes([9]) * 192)
    given = GivenPicture(png, strength=0.7)
    (alone,) = draw(program)
    (one,) = program.generate(WORKLOAD, (FOX,), 1, 1, given)
    again, _ = program.generate(WORKLOAD, (FOX, FOX), 1, 1, given)
    (masked,) = program.generate(WORKLOAD, (FOX,), 1, 1, GivenPicture(png, other, 0.7))
    (last,) = draw(program)
    assert one.png == again.png
    assert alone.png == last.png
    assert len({alone.png, one.png, masked.png}) == 3
    assert (alone.header.steps, one.header.steps) == (3, 2)


def test_a_large_picture_is_sent_while_answers_are_read(start):
    program = start("queue", "--takes", "picture")
    noise = os.urandom(2**22)  # far more than a pipe holds
    given = GivenPicture(b"\x89PNG" + noise)
    images = [ImageRequest("a fox", seed) for seed in range(4)]
    drawn = program.generate(WORKLOAD, images, 1, 2, given)
    assert [one.png for one in drawn] == [
        one.png for one in program.generate(WORKLOAD, images, 1, 1, given)
    ]
