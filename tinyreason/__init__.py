"""Tiny recursive reasoning models: one small core, applied many times, refines a latent state.

`tinyreason.load(run)` gives a trained model, see `tinyreason/trained.py`.
"""

from typing import Any

__version__ = "0.6.1"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`load`, and torch with it, only when it is asked for."""
    if name == "load":
        from tinyreason.trained import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
