"""A small study that was run with a fake rig and confirmed on a fake bench, as a summary."""

from sqlalchemy import make_url

from sdperf.ab.turns.view import SilentView
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.errors import GenerationError
from sdperf.tune.confirming import confirm
from sdperf.tune.study.opening import begin_study
from sdperf.tune.summary import summarise_study
from sdperf.tune.trial.tuning import draw_references, run_trials
from tests.support.ab_fakes import FakeBench
from tests.support.tune_fakes import FakeRig, ask


class Nobody:
    def announce(self, what):
        pass

    def show_trial(self, trial, study, trials):
        pass


def like(setting):
    """Images that are nearly the reference's, the more so with more steps."""
    return 0.1 * (20 - setting.num_inference_steps)


def run_study(folder, *, trials=6, candidate_s=1.0):
    """Begin, run and confirm a study in a folder; one of its settings runs out of memory."""
    search = {"steps": ["6", "8", "10", "12", "16"]}
    url = make_url(f"sqlite:///{folder / 'tune.db'}")
    study = begin_study(url, "s", ask(search=search), "a machine")

    def fail(setting):
        if setting.num_inference_steps == 6:
            raise GenerationError("the device ran out of memory")

    rig = FakeRig(noise=like, fails=fail)
    references = draw_references(study.question, rig)
    run_trials(study, rig, references, trials=trials, sampler="tpe", seed=1, view=Nobody())
    bench = FakeBench()
    bench.behaviours = {"default": {"seconds": 2.0}, "candidate": {"seconds": candidate_s}}
    confirm(study, rig, bench, CompareOptions(), view=Nobody(), blocks_view=SilentView())
    summary = summarise_study(study)
    study.close()
    return summary
