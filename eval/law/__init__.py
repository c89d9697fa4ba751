"""Scaling laws of recursion: `python -m eval.law`."""
