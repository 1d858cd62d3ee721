"""The fixtures that benchmarks use, here and in anyone's own repository.

pytest reads this in every session where sdperf is installed, so each imports what it needs when a
test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sdperf.plugin.fixtures import SdBenchmark
    from sdperf.plugin.gain import SdGain
    from sdperf.plugin.quality import SdQuality
    from sdperf.run.suite import Suite
    from sdperf.workload import Mode, Precision, Variant


@pytest.fixture
def sd_precision(request: pytest.FixtureRequest) -> Precision:
    """Precision of the case: ``fp32``, ``fp16`` or ``bf16``."""
    return getattr(request, "param", "fp32")


@pytest.fixture
def sd_mode(request: pytest.FixtureRequest) -> Mode:
    """Mode of the case: ``sync`` or ``async``."""
    return getattr(request, "param", "sync")


@pytest.fixture
def sd_workers(request: pytest.FixtureRequest) -> int:
    """Worker processes of the case."""
    return int(getattr(request, "param", 1))


@pytest.fixture
def sd_optimisations(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Names of the case's optimisations; ``default`` stands for those of the device."""
    from sdperf.pipeline.optimisations.catalogue import DEFAULT
    from sdperf.plugin.session import session_of

    names: tuple[str, ...] = getattr(request, "param", ())
    if names != (DEFAULT,):
        return names
    session = session_of(request.config)
    found = session.find_default_optimisations()
    if not found:
        kind = session.suite().describe_device().kind
        pytest.skip(f"nothing is on by default on {kind}: name some with --sd-optimisations")
    return found


@pytest.fixture
def sd_engine(request: pytest.FixtureRequest) -> str:
    """What runs the networks: ``torch``, or another engine of the catalogue."""
    return str(getattr(request, "param", "torch"))


@pytest.fixture
def sd_threads(request: pytest.FixtureRequest) -> int | None:
    """CPU threads of each worker; ``None`` divides the performance cores among them."""
    return getattr(request, "param", None)


@pytest.fixture
def sd_variant(
    sd_precision: Precision,
    sd_mode: Mode,
    sd_workers: int,
    sd_optimisations: tuple[str, ...],
    sd_engine: str,
    sd_threads: int | None,
) -> Variant:
    """The cell of the matrix that this case measures."""
    from sdperf.workload import Variant

    return Variant(sd_precision, sd_mode, sd_workers, sd_optimisations, sd_engine, sd_threads)


@pytest.fixture
def sd_suite(request: pytest.FixtureRequest) -> Suite:
    """What all cases share: workload, model, workers. Loading waits until a case needs it."""
    from sdperf.plugin.session import session_of

    return session_of(request.config).suite()


@pytest.fixture
def sd_benchmark(
    request: pytest.FixtureRequest, sd_variant: Variant, benchmark: Any
) -> SdBenchmark:
    """Measure a case: ``sd_benchmark.latency()``, ``.throughput()`` or ``.stage(name)``.

    The durations are the worker's own; pytest-benchmark reads them from a virtual clock.
    """
    from sdperf.plugin.fixtures import make_benchmark

    return make_benchmark(request, benchmark, sd_variant)


@pytest.fixture
def sd_gain(request: pytest.FixtureRequest, sd_variant: Variant, benchmark: Any) -> SdGain:
    """Measure a gain: ``sd_gain.latency()`` or ``sd_gain.throughput()``."""
    from sdperf.plugin.gain import make_gain

    return make_gain(request, benchmark, sd_variant)


@pytest.fixture
def sd_quality(
    request: pytest.FixtureRequest, sd_precision: Precision, sd_engine: str
) -> SdQuality:
    """Ask a question about the images: ``sd_quality.soundness()``, ``.images()``, ..."""
    from sdperf.plugin.quality import make_quality

    return make_quality(request, sd_precision, sd_engine)
