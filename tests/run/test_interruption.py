import signal

import pytest

from sdperf.run.interruption import ended_like_interrupted


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
