"""A process that tunes with a fake rig: ``python -m tests.support.fake_tuner URL TRIALS [DELAY]``.

Says ``trial`` after each trial; a delay makes it slow enough to be killed in the middle of one.
"""

import sys
import time

from sqlalchemy import make_url

from sdperf.tune.study.opening import begin_study
from sdperf.tune.study.storage import require_optuna
from sdperf.tune.trial.tuning import draw_references, run_trials
from tests.support.tune_fakes import FakeRig, ask

SEARCH = {"steps": [str(steps) for steps in range(2, 21)], "guidance": ["1", "2", "3"]}


class Teller:
    def announce(self, what):
        if what.startswith("trying"):
            print("trying", flush=True)

    def show_trial(self, trial, study, trials):
        print("trial", trial.number, flush=True)


def main(url, trials, delay_s):
    require_optuna()
    study = begin_study(make_url(url), "shared", ask(search=SEARCH), "a machine")
    rig = FakeRig(seconds=lambda setting: 0.01 * setting.num_inference_steps)
    references = draw_references(study.question, rig)
    rig.fails = lambda setting: time.sleep(delay_s)
    run_trials(study, rig, references, trials=trials, sampler="tpe", seed=None, view=Teller())
    study.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
