"""Two processes on one study in one PostgreSQL."""

import subprocess
import sys
from pathlib import Path

import pytest

from sdperf.errors import ConfigurationError
from sdperf.tune.study.opening import begin_study, find_study
from sdperf.tune.study.storage import locate_storage
from tests.support.fake_tuner import SEARCH
from tests.support.postgres import create_database, running_server
from tests.support.tune_fakes import ask

ROOT = Path(__file__).parents[3]
TRIALS = 14


@pytest.mark.postgres
@pytest.mark.long
def test_two_processes_share_the_trials_of_one_study(tmp_path):
    with running_server() as folder:
        given = create_database(folder)
        url = locate_storage(given, tmp_path)
        tuners = [
            subprocess.Popen(
                [
                    sys.executable, "-m", "tests.support.fake_tuner",
                    url.render_as_string(hide_password=False), str(TRIALS), "0.02",
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        said = [tuner.communicate(timeout=120) for tuner in tuners]
        assert [tuner.returncode for tuner in tuners] == [0, 0], said
        shares = [output.count("trial ") for output, _ in said]
        assert min(shares) > 0, "both had a share"

        study = find_study(url, "shared")
        trials = study.list_trials()
        ended = [one for one in trials if one.tried is not None]
        assert TRIALS <= len(ended) <= TRIALS + 1
        assert len(ended) == sum(shares)
        assert len({one.setting for one in ended}) >= len(ended) - 1
        assert study.question == ask(search=SEARCH)
        assert study.count_running() == 0

        with pytest.raises(ConfigurationError, match="another kind of machine"):
            begin_study(url, "shared", ask(search=SEARCH), "a phone")
        study.close()
