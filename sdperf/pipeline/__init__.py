"""The stages of a diffusers pipeline, which draw the same bytes as its plain call."""
