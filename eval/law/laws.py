"""The laws: what they predict, and how that moves with their parameters.

Sources: iso-depth scaling laws, arXiv 2604.21106 (recurrence-equivalence exponent); Chinchilla,
arXiv 2203.15556; Parcae, arXiv 2604.12946.

M candidates, n rows, P parameters. Everything is float64.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

Rows = Mapping[str, np.ndarray]  # columns (n,) by name


class Law(ABC):
    """Abstract. A curve with parameters that are searched in a box."""

    columns: tuple[str, ...]
    names: tuple[str, ...]  # of the parameters
    box: tuple[tuple[float, float], ...]  # in which searches begin
    least = 7  # rows

    @abstractmethod
    def residuals(self, theta: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """(M P) -> (M n), (M n P): how far the curve is from the rows, and its slopes."""

    @abstractmethod
    def told(self, theta: np.ndarray) -> dict[str, float]:
        """The parameters as the law is written."""

    def target(self, rows: Rows) -> np.ndarray:
        """(n,): what the residuals are of."""
        return np.log(rows["loss"])


class Recurrence(Law):
    """L = E + A (N_once + r^phi N_rec)^-alpha + B D^-beta, in logarithms; phi may be held."""

    columns = ("n_once", "n_rec", "r", "D", "loss")
    names = ("a", "alpha", "b", "beta", "e", "phi")
    box = ((-5, 35), (0, 2.5), (-5, 35), (0, 2.5), (-3, 2), (-3, 3))

    def __init__(self, phi: float | None = None):
        self.phi = phi
        if phi is not None:
            self.names, self.box = self.names[:-1], self.box[:-1]

    def residuals(self, theta: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        a, alpha, b, beta, e = (theta[:, i, None] for i in range(5))
        phi = theta[:, 5, None] if self.phi is None else np.full_like(a, self.phi)
        log_r, log_D = np.log(rows["r"]), np.log(rows["D"])
        repeated = np.exp(np.clip(phi * log_r, -200, 200)) * rows["n_rec"]
        N = np.maximum(rows["n_once"] + repeated, 1e-300)
        log_N = np.log(N)
        parts = np.stack(np.broadcast_arrays(a - alpha * log_N, b - beta * log_D, e), axis=-1)
        top = parts.max(-1, keepdims=True)
        total = np.exp(parts - top).sum(-1, keepdims=True)
        log_L = (top + np.log(total))[..., 0]
        share = np.exp(parts - top) / total  # of each part of the loss
        slopes = [
            share[..., 0],
            -share[..., 0] * log_N,
            share[..., 1],
            -share[..., 1] * log_D,
            share[..., 2],
            -share[..., 0] * alpha * repeated / N * log_r,
        ]
        J = np.stack(np.broadcast_arrays(*slopes[: len(self.names)]), axis=-1)
        return log_L - self.target(rows), J

    def told(self, theta: np.ndarray) -> dict[str, float]:
        found = dict(zip(self.names, theta, strict=True))
        phi = {"phi": float(found.get("phi", self.phi))}
        sizes = {"E": np.exp(found["e"]), "A": np.exp(found["a"]), "B": np.exp(found["b"])}
        exponents = {"alpha": found["alpha"], "beta": found["beta"]}
        return phi | {key: float(value) for key, value in (exponents | sizes).items()}


class Chinchilla(Recurrence):
    """L = E + A N^-alpha + B D^-beta."""

    columns = ("N", "D", "loss")

    def __init__(self):
        super().__init__(phi=0.0)

    def residuals(self, theta: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        ones, none = np.ones_like(rows["N"]), np.zeros_like(rows["N"])
        return super().residuals(theta, {**rows, "n_once": rows["N"], "n_rec": none, "r": ones})

    def told(self, theta: np.ndarray) -> dict[str, float]:
        found = super().told(theta)
        found.pop("phi")
        return found


class Saturating(Law):
    """y = y_inf + A exp(-k x): test-time depth (x recursions), Parcae's L(T).

    k is searched as a logarithm; A may have either sign, since accuracies rise and losses fall.
    """

    names = ("y_inf", "A", "log_k")
    least = 4

    def __init__(self, x: str):
        self.x, self.columns = x, (x, "loss")
        self.box = ((-1, 1), (-1, 1), (-7, 3))

    def residuals(self, theta: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        y, A, log_k = (theta[:, i, None] for i in range(3))
        k = np.exp(np.clip(log_k, -50, 50))
        falls = np.exp(-np.minimum(k * rows[self.x], 700))
        scale = np.abs(rows["loss"]).max()
        J = np.stack(
            np.broadcast_arrays(np.ones_like(falls), falls, -A * k * rows[self.x] * falls), axis=-1
        )
        return y + A * falls - rows["loss"] / scale, J

    def target(self, rows: Rows) -> np.ndarray:
        return rows["loss"] / np.abs(rows["loss"]).max()

    def told(self, theta: np.ndarray) -> dict[str, float]:
        y, A, log_k = theta
        return {"y_inf": float(y), "A": float(A), "k": float(np.exp(log_k))}


LAWS = {
    "recurrence": Recurrence,
    "chinchilla": Chinchilla,
    "depth": lambda: Saturating("L"),
    "parcae": lambda: Saturating("T"),
}
