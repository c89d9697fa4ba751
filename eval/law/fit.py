"""Fit a law: the Huber loss of its residuals, from many starts at once.

Levenberg-Marquardt with Huber weights, all candidates side by side, then scipy's L-BFGS-B from the
best to the last digit. Sums and not means, with tolerances far below the differences that matter:
with scipy's own the exponents come out wrong.

M candidates, n rows, P parameters, G groups.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from eval.law.laws import Law, Rows

DELTA = 1e-3  # of the Huber loss, in logarithms of the loss
STARTS = 500  # random ones of a fit
WARM = 4  # of a resample: the fit itself, and others near it
LIMIT = 400  # iterations


@dataclass
class Fit:
    """A law and what was found."""

    law: Law
    theta: np.ndarray  # (P,)
    rows: Rows
    objective: float

    @property
    def residuals(self) -> np.ndarray:
        return self.law.residuals(self.theta[None], self.rows)[0][0]

    @property
    def R2(self) -> float:
        """Share of the variance of what is predicted."""
        target = self.law.target(self.rows)
        spread = ((target - target.mean()) ** 2).sum()
        return float(1 - (self.residuals**2).sum() / spread) if spread else float("nan")


def huber(r: np.ndarray, delta: float) -> np.ndarray:
    size = np.abs(r)
    return np.where(size <= delta, 0.5 * r**2, delta * (size - 0.5 * delta))


def search(
    law: Law, rows: Rows, starts: np.ndarray, weights: np.ndarray, delta: float = DELTA
) -> tuple[np.ndarray, np.ndarray]:
    """From `starts` (M P), with `weights` of the rows (M n) or (n,): where each ended (M P), and
    its objective (M,).
    """
    theta, damping = starts.copy(), np.full(len(starts), 1e-2)
    r, J = law.residuals(theta, rows)
    value = (weights * huber(r, delta)).sum(-1)
    eye = np.eye(theta.shape[1])
    still = np.zeros(len(starts), int)
    for _ in range(LIMIT):
        W = weights * np.minimum(1, delta / np.maximum(np.abs(r), 1e-300))
        H = np.einsum("mnp,mn,mnq->mpq", J, W, J)
        g = np.einsum("mnp,mn->mp", J, W * r)
        scale = np.einsum("mpp->mp", H)[..., None] * eye + 1e-12 * eye
        step = np.linalg.solve(H + damping[:, None, None] * scale, g[..., None])[..., 0]
        tried = theta - np.clip(step, -2, 2)
        r_new, J_new = law.residuals(tried, rows)
        new = (weights * huber(r_new, delta)).sum(-1)
        better = np.isfinite(new) & (new < value)
        gained = np.where(better, value - new, 0)
        theta[better], value[better] = tried[better], new[better]
        r[better], J[better] = r_new[better], J_new[better]
        damping = np.clip(np.where(better, damping / 3, damping * 4), 1e-12, 1e12)
        still = np.where(gained > 1e-14 * value, 0, still + 1)
        if (still > 12).all():
            break
    return theta, value


def polished(law: Law, rows: Rows, theta: np.ndarray, delta: float) -> tuple[np.ndarray, float]:
    """By L-BFGS-B. The objective is scaled to the size of its curvature."""

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        r, J = law.residuals(theta[None], rows)
        slope = np.clip(r[0], -delta, delta)
        return huber(r[0], delta).sum() / delta**2, slope @ J[0] / delta**2

    options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(objective, theta, jac=True, method="L-BFGS-B", options=options)
    better = found.fun * delta**2 < objective(theta)[0] * delta**2
    return (found.x, found.fun * delta**2) if better else (theta, objective(theta)[0] * delta**2)


def fit(law: Law, rows: Rows, seed: int, delta: float = DELTA, starts: int | None = None) -> Fit:
    """The best of many random starts."""
    rows = ordered(rows)
    rng = np.random.Generator(np.random.PCG64(seed))
    low, high = np.array(law.box).T
    first = rng.uniform(low, high, (starts or STARTS, len(low)))
    weights = np.ones(len(rows["loss"]))
    theta, value = search(law, rows, first, weights, delta)
    best = theta[np.nanargmin(value)]
    best, objective = polished(law, rows, best, delta)
    return Fit(law, best, rows, float(objective))


def resampled(found: Fit, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count P): fits of as many groups, drawn again and again with replacement. `groups` (n,) are
    numbers from 0 on, in the order of `found.rows`.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    G, P = groups.max() + 1, len(found.theta)
    drawn = rng.multinomial(G, np.full(G, 1 / G), count)  # how often each group is drawn
    weights = np.repeat(drawn[:, groups], WARM, axis=0).astype(float)
    near = rng.normal(0, 0.1, (count, WARM, P)) * np.maximum(np.abs(found.theta), 0.1)
    near[:, 0] = 0
    starts = (found.theta + near).reshape(-1, P)
    theta, value = search(found.law, found.rows, starts, weights)
    best = value.reshape(count, WARM).argmin(1)
    return theta.reshape(count, WARM, P)[np.arange(count), best]


def ordered(rows: Rows) -> Rows:
    """The same rows in an order of their own, so that a fit does not depend on that of a file."""
    keys = [np.asarray(rows[name], float) for name in sorted(rows) if name != "group"]
    order = np.lexsort(keys)
    return {name: values[order] for name, values in rows.items()}
