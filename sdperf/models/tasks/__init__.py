"""What a pipeline does with pictures, read from its call and from diffusers' own mappings."""
