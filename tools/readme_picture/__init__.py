"""The README's picture of a report: two committed runs, today's code, and a browser.

``python -m tools.readme_picture`` measures nothing. It draws the report of ``docs/images/report``
again and takes a picture of its first screen, with Chromium (``apt-get install chromium
chromium-driver``) and selenium. Beside the picture it writes the words of that screen, by which a
test sees that the report says something else by now.

The two runs were measured by these commands, of the pipelines in `tools.readme_picture.subjects`;
the name of the machine was taken out, and of the pictures those that the screen shows were kept:

  pytest benchmarks/test_latency.py benchmarks/test_throughput.py benchmarks/test_quality.py
  --sd-precision fp32 --sd-mode sync --sd-workers 1,2 --sd-rounds 5 --sd-batch-rounds 3
  --sd-subject tools.readme_picture.subjects:plain --benchmark-json before.json

and the same with ``:damaged`` and ``after.json``.
"""
