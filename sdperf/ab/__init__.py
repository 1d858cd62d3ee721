"""Two arms taking turns on one machine: blocks that cancel drift, and another revision's code."""
