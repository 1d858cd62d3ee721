"""Makes the embedded model's reference images, and measures what its floors rest on.

    python -m evidence.embedded_references

Run it on a CPU after the weights changed; it writes the references into the package and the
ladder of changes (the evidence) under `docs/results/`.
"""
