"""Trains the tiny Stable Diffusion pipeline that ships inside sdperf.

``python -m evidence.train_embedded_model data`` prepares everything on a CPU, and
``python -m evidence.train_embedded_model train`` does all the rest on one GPU. See the README.md in
this folder.
"""
