"""Adapters that ship: scripts that another environment's interpreter runs, without sdperf.

``external:PYTHON {adapters}/NAME.py ...`` in a command stands for them. They import nothing of
sdperf but `serving`, which lies beside them.
"""
