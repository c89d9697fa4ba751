"""The systems of the field side by side: `python -m eval.zoo`."""
