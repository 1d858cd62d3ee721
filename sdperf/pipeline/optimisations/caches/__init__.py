"""diffusers' own caches, which leave out calls of blocks between a transformer's steps."""
