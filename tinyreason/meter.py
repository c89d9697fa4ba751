"""Sums that stay on the device until somebody looks."""

from collections import Counter


class Meter:
    """Adds up the sums of `objective` and the number of slots."""

    def __init__(self):
        self.sums: dict = {}

    def add(self, sums: dict) -> None:
        self.sums = {k: self.sums.get(k, 0) + v for k, v in sums.items()}

    def read(self) -> dict[str, float]:
        """Means since the last read: losses over slots, the rest over puzzles that left. Waits for the device."""
        sums = Counter({k: float(v) for k, v in self.sums.items()})
        self.sums = {}
        slots, left = sums.pop("slots"), sums.pop("left")
        return {k: v / (slots if "loss" in k else max(left, 1)) for k, v in sums.items()} | {"puzzles": left}
