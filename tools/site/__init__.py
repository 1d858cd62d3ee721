"""The documentation as a site, by Sphinx: `python -m tools.site`, as `make site` calls it."""
