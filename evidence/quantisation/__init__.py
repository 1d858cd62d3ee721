"""Hold quantised weights against the plain pipeline: bytes, memory, latency, pictures.

    python -m evidence.quantisation --precision bf16 --json quantised.json

Each set of optimisations gets a worker of its own that takes turns with the plain pipeline of the
same precision (ABBA, BAAB); components and pictures are held against fp32.
"""
