"""Whole models, built from the blocks of `gancodec.nn`."""
