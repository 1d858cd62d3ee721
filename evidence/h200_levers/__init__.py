"""Measure on one GPU what each set of optimisations gains on a model of today, in turns.

    python -m evidence.h200_levers z_image_turbo --seconds 150 --json z_image_turbo.json
    python -m evidence.h200_levers z_image_turbo --tiny --seconds 60

In one process, on the same random weights: plain diffusers as a user writes it, PNG file included;
the recipe that diffusers' documentation gives; sets of sdperf's optimisations. They take turns,
each prompt is new, and each turn gives the ratio of plain over the other. ``--second-session`` also
starts a second process with the compiled code of the first. ``--tiny`` tries all of it on a CPU.
Beside it, `second_session` says where a session's first call goes, and `products` how fast the
products and attentions of Qwen-Image's blocks are alone.
"""
