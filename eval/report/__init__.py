"""What a run was and what came of it, on one page: `python -m eval.report run=runs/NAME`."""
