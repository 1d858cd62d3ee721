"""The task of a pipeline with pictures, read from its call and from diffusers' own mappings."""
