import pickle

import pytest

from sdperf.errors import ConfigurationError, ModelError, SdperfError, WorkerError


def test_a_message_says_what_got_expected_and_what_to_do():
    error = ConfigurationError("it broke", got=3, expected=4, hint="try 4")
    assert str(error) == "it broke; got: 3; expected: 4; do: try 4"


@pytest.mark.parametrize("kind", [SdperfError, ModelError, WorkerError])
def test_errors_cross_a_process_border_whole(kind):
    error = kind("it broke", got=0, hint="mend it")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert copy.got == 0
