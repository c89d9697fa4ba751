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
        slots, left, skipped = (sums.pop(k) for k in ("slots", "left", "skipped"))
        means = {k: v / max(slots if "loss" in k else left, 1) for k, v in sums.items()}
        return means | {"puzzles": left, "skipped": skipped}
