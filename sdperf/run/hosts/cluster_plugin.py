"""Loads the pipeline on a Dask worker before the first request.

It imports `distributed` at module level, so it is loaded only where a cluster is used.
"""

from __future__ import annotations

import asyncio
import dataclasses

from distributed import Worker, WorkerPlugin

from sdperf.errors import ModelError
from sdperf.models.loader import resolve_model
from sdperf.run import worker as engine_room
from sdperf.run.messages import WorkerReport, WorkerSpec


class PreloadPipeline(WorkerPlugin):
    """Loads a pipeline into one worker of the cluster when it is registered.

    Args:
        spec: What to load.
        address: The worker; the plugin does nothing on other workers, also on later ones.
    """

    def __init__(self, spec: WorkerSpec, address: str) -> None:
        self._spec = spec
        self._address = address

    async def setup(self, worker: Worker) -> None:
        """Load in a thread, since the event loop has to keep answering the scheduler.

        Raises:
            ModelError: The worker's files differ, or do not make the pipeline.
            ConfigurationError: The device or the subject cannot be used there.
            GenerationError: The user's own subject raised.
        """
        if worker.address == self._address:
            await asyncio.to_thread(self._load)

    def teardown(self, worker: Worker) -> None:
        """Free the pipeline."""
        if worker.address == self._address:
            engine_room.unload()

    def _load(self) -> None:
        engine_room.load(localise(self._spec))


def localise(spec: WorkerSpec) -> WorkerSpec:
    """Find the model's files on this machine; their path may differ from the asking machine's.

    Raises:
        ModelError: The files are missing here, or differ.
    """
    asked = spec.model
    here = resolve_model(asked.name, lora=asked.lora, pipeline_class=asked.pipeline_class)
    if here.model_hash != asked.model_hash:
        raise ModelError(
            f"the cluster's worker has other weights of {asked.name!r}",
            got=here.model_hash[:12],
            expected=asked.model_hash[:12],
            hint="copy the same folder to every machine of the cluster",
        )
    return dataclasses.replace(spec, model=here)


def take_report() -> WorkerReport:
    """Return the worker's report after loading.

    Raises:
        GenerationError: It has no pipeline.
    """
    return engine_room.report()
