"""The stages of a diffusers pipeline, with the same bytes as its plain call."""
