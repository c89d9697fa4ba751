"""The rows of the chain as programs that train: one loop, which composes their switches.

Departures from a fast loop, each because the post's figures count it: the cell's two products are
added rather than fused, its head has a bias, Adam runs a tensor at a time.

B batch, T steps, D width, K refinements of a step.
"""

from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.checkpoint import checkpoint

from eval.cost import measure
from eval.cost.chain_formula import Cost
from eval.cost.chain_rows import Sizes, Switches

REPEATS = 5  # timings, of which the median counts


class Cell(nn.Module):
    """The affine-tanh block: tanh(h Wh' + x Wx' + b)."""

    def __init__(self, D: int) -> None:
        super().__init__()
        self.Wh, self.Wx = (nn.Parameter(torch.randn(D, D) / D**0.5) for _ in range(2))
        self.b = nn.Parameter(torch.zeros(D))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """h, x (B D) -> (B D)."""
        return torch.tanh(h @ self.Wh.T + x @ self.Wx.T + self.b)


class Program(nn.Module):
    """A row: its blocks, its head, its optimizer, and a rollout of random inputs and targets."""

    def __init__(
        self, switches: Switches, sizes: Sizes, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.switches, self.sizes = switches, sizes
        self.cells = nn.ModuleList(
            Cell(sizes.D) for _ in range(1 if switches.shared else sizes.T * sizes.K)
        )
        self.head = nn.Linear(sizes.D, sizes.D)
        self.x, self.y = torch.randn(2, sizes.T, sizes.B, sizes.D, dtype=dtype)
        self.to(dtype)
        self.optimizer = torch.optim.Adam(self.parameters(), foreach=False)

    def start(self) -> Tensor:
        """The state before the first step (B D)."""
        return torch.zeros_like(self.x[0])

    def rollout(self) -> None:
        """Train on all T steps."""
        h, steps = self.start(), self.switches.steps(self.sizes.T)
        for x, y in zip(self.x.split(steps), self.y.split(steps), strict=True):
            h = self.interval(h.detach(), x, y)

    def first_interval(self) -> None:
        """What is measured: all intervals cost the same."""
        steps = self.switches.steps(self.sizes.T)
        self.interval(self.start(), self.x[:steps], self.y[:steps])

    def interval(self, h: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Forward, losses, backward and one update, over the steps in x and y (T B D).

        Returns the state (B D).
        """
        self.optimizer.zero_grad()
        losses, last = [], len(x) - 1
        for t in range(len(x)):
            h = self.step(h.detach() if self.switches.detach else h, x[t], t)
            if self.switches.every_loss or t == last:
                losses.append(mse_loss(self.head(h), y[t]))
            if self.switches.stream or t == last:
                total(losses).backward()
                losses = []
        self.optimizer.step()
        return h

    def step(self, h: Tensor, x: Tensor, t: int) -> Tensor:
        """Refine h (B D) K times with the input x of step t, without gradient where it is not
        tracked.
        """
        K, tracked = self.sizes.K, self.switches.tracked(self.sizes.K)
        cells = [self.cells[0 if self.switches.shared else t * K + k] for k in range(K)]
        with torch.no_grad():
            h = refine(cells[: K - tracked], h, x)
        if (
            self.switches.checkpoint
        ):  # reentrant, it would leave the cells without gradient: neither h nor x has one
            return checkpoint(refine, cells[K - tracked :], h, x, use_reentrant=False)
        return refine(cells[K - tracked :], h, x)


def refine(cells: list[Cell], h: Tensor, x: Tensor) -> Tensor:
    """Apply the cells one after the other."""
    for cell in cells:
        h = cell(h, x)
    return h


def total(losses: list[Tensor]) -> Tensor:
    """Their sum, which begins with an addition to 0 that the profiler counts; a single loss needs
    none.
    """
    return sum(losses) if len(losses) > 1 else losses[0]


def measured(switches: Switches, sizes: Sizes) -> tuple[Cost, float]:
    """The cost of one training interval, and its seconds."""
    program = Program(switches, sizes)
    flops = measure.flops(program.first_interval)
    with measure.evaluations(program.cells) as calls:
        saved = measure.saved_peak(program.first_interval)
    memory = {
        "saved": saved,
        "parameters": measure.parameter_bytes(program),
        "gradients": measure.gradient_bytes(program),
        "optimizer": measure.optimizer_bytes(program.optimizer),
    }
    cost = Cost(calls.count, measure.matrix_products(flops), flops, memory)
    interval, cpu = program.first_interval, torch.device("cpu")
    return cost, median(measure.seconds(interval, cpu) for _ in range(REPEATS))
