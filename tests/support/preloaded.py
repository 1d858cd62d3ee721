"""What each worker of the tiny pipeline imports, for a server that processes are forked from."""

import diffusers
import torch
import transformers

import sdperf.run.worker.loaded

IMPORTED = (
    diffusers.StableDiffusionPipeline,
    diffusers.PNDMScheduler,
    sdperf.run.worker.loaded,
    torch,
    transformers.CLIPTextModel,
    transformers.CLIPTokenizer,
)
