import faulthandler
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from sdperf.run.interruption import ended_like_interrupted, read_caught_signals
from tests.support.systems import FakeSystem


def test_being_asked_to_end_is_like_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_like_interrupted():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_ignored_or_somebody_elses_stays_so(kind):
    seen = []
    before = signal.signal(kind, lambda *_: seen.append("theirs"))
    try:
        with ended_like_interrupted():
            signal.raise_signal(kind)
        assert seen == ["theirs"]
        signal.signal(kind, signal.SIG_IGN)  # what nohup leaves to its command
        with ended_like_interrupted():
            signal.raise_signal(kind)
        assert signal.getsignal(kind) is signal.SIG_IGN
    finally:
        signal.signal(kind, before)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP])
def test_a_handler_that_is_set_meanwhile_stays(kind):
    def theirs(_number, _frame):
        pass

    before = signal.getsignal(kind)
    try:
        with ended_like_interrupted():
            signal.signal(kind, theirs)
        assert signal.getsignal(kind) is theirs
    finally:
        signal.signal(kind, before)


def test_being_asked_again_does_not_cut_the_cleaning_up_off():
    done = []

    def work():
        with ended_like_interrupted():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGHUP)
                done.append("cleaned up")

    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            work()
        assert len(done) == times


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what C code catches")
def test_what_faulthandler_took_stays_its_own(tmp_path):
    with (tmp_path / "said").open("w+") as file:
        faulthandler.register(signal.SIGHUP, file=file, all_threads=False)
        try:
            with ended_like_interrupted():
                signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
        finally:
            faulthandler.unregister(signal.SIGHUP)
        file.seek(0)
        assert file.read().count("test_what_faulthandler_took") == 2


def test_where_the_system_tells_nothing_no_signal_is_known_to_be_caught():
    assert read_caught_signals(FakeSystem()) == frozenset()


def test_a_process_that_was_forked_off_ends_as_it_does_elsewhere():
    program = """
        import os, signal
        from sdperf.run.interruption import ended_like_interrupted

        with ended_like_interrupted():
            child = os.fork()
            if not child:
                try:
                    signal.raise_signal(signal.SIGTERM)
                finally:
                    os._exit(77)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == -signal.SIGTERM
