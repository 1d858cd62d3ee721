"""``sdperf tune``: the best settings for this machine, searched and then confirmed."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdperf.cli.shared.measuring import refuse_unsuited_names
from sdperf.cli.shared.options import read_picture_asked
from sdperf.cli.shared.output import (
    check_output_files,
    check_temporary_folder,
    print_lines,
    refuse_same_files,
)
from sdperf.cli.shared.spelling import make_speller
from sdperf.cli.shared.stepping import say_aloud
from sdperf.cli.tune.options import add_parser, read_asked
from sdperf.errors import ConfigurationError, UnfitError
from sdperf.outputs import Output, check_outputs
from sdperf.run.interruption import ended_like_interrupted

if TYPE_CHECKING:
    from sdperf.tune.question.asking import Asked
    from sdperf.tune.study.study import TuningStudy
    from sdperf.tune.summary import StudySummary
    from sdperf.tune.trial.rig import LiveRig

__all__ = ["add_parser", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Search, confirm, write; the exit status tells whether there is a winner."""
    from sdperf.tune.study.storage import require_optuna

    require_optuna()
    _check_outputs(arguments)
    try:
        summary = show(arguments) if arguments.action == "show" else search(arguments)
    except KeyboardInterrupt:
        if arguments.action == "show":
            raise
        say_aloud("sdperf tune", "interrupted: what was measured is kept; the same command goes on")
        return 130
    from sdperf.report.text.tune import format_study

    print_lines(format_study(summary))
    _write(summary, arguments)
    if any(one.judgement == "void" for one in summary.confirmations):
        return 6
    return 0 if summary.winner is not None else 1


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse a study or a result that cannot be written, before anything is measured.

    Raises:
        ConfigurationError: A file, or the folder of temporary files, cannot be written, or two
            results, or one and the study, are the same file.
    """
    from sdperf.tune.study.storage import locate_storage

    options = ("profile", "json", "markdown")
    files = {f"--{option}": getattr(arguments, option) for option in options}
    url = locate_storage(arguments.storage, Path.cwd())
    storage = None
    if url.get_backend_name() == "sqlite" and url.database is not None:
        storage = Path(url.database).absolute()
    refuse_same_files(files | {"--storage": storage})
    check_output_files(files)
    if arguments.action != "show":
        if storage is not None:
            check_outputs([Output("--storage", storage)])
        check_temporary_folder()


def show(arguments: argparse.Namespace) -> StudySummary:
    """Read a study.

    Raises:
        ConfigurationError: No study has this name.
    """
    from sdperf.tune.study.opening import find_study, list_studies
    from sdperf.tune.study.storage import locate_storage
    from sdperf.tune.summary import summarise_study

    url = locate_storage(arguments.storage, Path.cwd())
    study = find_study(url, arguments.study)
    if study is None:
        names = list_studies(url)
        raise ConfigurationError(
            "there is no such study",
            got=arguments.study,
            expected=", ".join(names) or "none is there",
            hint="sdperf tune begins one",
        )
    try:
        return summarise_study(study)
    finally:
        study.close()


def search(arguments: argparse.Namespace) -> StudySummary:
    """Begin or join a study, run its trials, and confirm the best settings."""
    from sdperf.cli.tune.view import StudyView
    from sdperf.models.loader import resolve_model
    from sdperf.run.pool import WorkerPool
    from sdperf.run.suite import count_cpu_threads
    from sdperf.tune.question.asking import choose_for_study, list_named_optimisations
    from sdperf.tune.study.opening import find_study
    from sdperf.tune.study.storage import locate_storage
    from sdperf.tune.summary import summarise_study
    from sdperf.tune.trial.rig import LiveRig
    from sdperf.tune.trial.tuning import draw_references, run_trials

    url = locate_storage(arguments.storage, Path.cwd())
    known = find_study(url, arguments.study)
    stored = None if known is None else known.question
    view = StudyView(sys.stderr)
    model = arguments.model or ("embedded" if stored is None else stored.workload.model)
    subject = arguments.subject or (None if stored is None else stored.subject)
    picture = choose_for_study(
        model, read_picture_asked(arguments), stored, is_subject=subject is not None
    )
    asked = read_asked(arguments, picture.picture)
    device = arguments.device or ("auto" if stored is None else stored.device_kind)
    refuse_unsuited_names(list_named_optimisations(asked), model, subject, device)
    rig = LiveRig(
        resolve_model(model, pipeline_class=picture.pipeline_class),
        device=device,
        subject=subject,
        cpu_threads=count_cpu_threads(),
        pool=WorkerPool(timeout_s=arguments.timeout),
        pictures=picture.files,
    )
    with ended_like_interrupted():
        try:
            view.announce(f"loading {model}")
            study = open_study(arguments, rig, known, asked)
            if study.count_ended() < arguments.trials:
                view.announce("drawing the reference")
                references = draw_references(study.question, rig)
                run_trials(
                    study,
                    rig,
                    references,
                    trials=arguments.trials,
                    sampler=arguments.sampler,
                    seed=arguments.seed,
                    view=view,
                    spell=make_speller(arguments),
                )
            void = _confirm(arguments, study, rig, view) if arguments.confirm else []
        finally:
            view.finish()
            rig.close()
    try:
        return summarise_study(study, void)
    finally:
        study.close()


def open_study(
    arguments: argparse.Namespace,
    rig: LiveRig,
    known: TuningStudy | None,
    asked: Asked,
) -> TuningStudy:
    """Join the existing study, or begin it with the typed question.

    Args:
        arguments: The command line.
        rig: Runs the trials.
        known: The existing study; ``None`` without one.
        asked: What was typed.

    Raises:
        ConfigurationError: The typed question differs from the study's, or the study is of another
            kind of machine.
    """
    from sdperf.measure.environment import collect_environment
    from sdperf.tune.question.asking import make_question
    from sdperf.tune.study.opening import begin_study, check_machine, check_question
    from sdperf.tune.study.storage import locate_storage

    question, device = make_question(asked, rig, None if known is None else known.question)
    machine = collect_environment(
        device_kind=device.kind, device_name=device.name, gpu_cores=device.gpu_cores
    ).fingerprint()
    if known is None:
        url = locate_storage(arguments.storage, Path.cwd())
        return begin_study(url, arguments.study, question, machine)
    check_machine(known, machine)
    check_question(
        known,
        arguments.study,
        question,
        hint="leave those options out to go on with it, or begin another: --study NAME",
    )
    known.question = question
    return known


def _confirm(
    arguments: argparse.Namespace, study: TuningStudy, rig: LiveRig, view: Any
) -> list[Any]:
    """Measure the front beside the default; return the confirmations that do not count."""
    from sdperf.ab.turns.bench import LiveBench
    from sdperf.ab.verdict.comparison import CompareOptions
    from sdperf.cli.ab.view import TerminalView
    from sdperf.tune.confirming import confirm

    if study.count_running():
        view.say("trials are under way elsewhere: whoever ends last confirms")
        return []
    spell = make_speller(arguments)
    options = CompareOptions(timeout_s=arguments.timeout, guards=arguments.guards)
    blocks = TerminalView(sys.stderr, math.log1p(options.max_slowdown), "sdperf tune")
    try:
        with LiveBench() as bench:
            found = confirm(
                study,
                rig,
                bench,
                options,
                most=arguments.confirm,
                view=view,
                blocks_view=blocks,
                spell=spell,
            )
    except UnfitError as error:
        view.say(f"not confirmed: {spell(error)}")
        return []
    return [one for one in found if one.judgement == "void"]


def _write(summary: StudySummary, arguments: argparse.Namespace) -> None:
    from sdperf.report.markdown.tune import format_summary_markdown
    from sdperf.store.files import encode_text, write_atomically
    from sdperf.tune.question.asking import make_profile
    from sdperf.tune.summary import format_summary_json

    profile = make_profile(summary)
    contents = {
        arguments.json: None if arguments.json is None else format_summary_json(summary),
        arguments.markdown: None
        if arguments.markdown is None
        else format_summary_markdown(summary),
        arguments.profile: profile,
    }
    for path, content in contents.items():
        if path is None or content is None:
            continue
        try:
            write_atomically(path, encode_text(content))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written", got=error.strerror) from error
        print(f"wrote {path}")
