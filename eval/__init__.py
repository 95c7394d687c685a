"""Evaluation: what a file costs and how the picture fares."""
