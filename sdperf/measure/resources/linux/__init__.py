"""Sensors of Linux machines, Arm boards and control groups, and their parsers."""
