"""The gradient at a fixed point of the recursion, and how that point is looked for.

f is one recursion; of a model with cycles, a whole cycle. A model whose recursions differ by their
number is looked at as it is in the last ones.

Sources: deep equilibrium models, arXiv 1909.01377; phantom gradients, arXiv 2111.05177.

B batch, n numbers of a state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tinyreason.gradient.base import Gradient, GradientConfig
from tinyreason.gradient.solvers import SOLVERS, Function, Search
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.recursion import Depth, Recur, State, mixed, settled

Latents = tuple[Tensor, ...]  # of a state, without their names
Back = Callable[[Latents], Latents]  # a gradient after f to that before it


@dataclass
class EquilibriumConfig(GradientConfig):
    """Abstract. How the fixed point is looked for."""

    search: str = option(choices=("recur", *SOLVERS))  # recur: as any model does
    mixing: float = option(least=0, most=1)  # tau of the search
    memory: int = option(least=2, most=64)  # m of Anderson's
    ridge: float = option(least=0)  # lambda of Anderson's
    tolerance: float = option(least=0)  # ends a search early, for which the host waits; 0: never
    jacobian: float = option(least=0)  # weight of the penalty on a steep f
    vectors: int = option(least=1, most=1024)  # random ones, for that penalty

    @property
    def searches(self) -> bool:
        return self.search != "recur"


class Equilibrium(Gradient):
    """Abstract."""

    Config = EquilibriumConfig
    plain = False

    @property
    def twice(self) -> bool:
        return bool(self.config.jacobian)

    def found(self, recur: Recur, state: State, x: Tensor, depth: Depth) -> State:
        """The state after the recursions that carry no gradient."""
        calls = (depth.total - depth.tracked) // self.unit
        if not self.config.searches or not calls:
            return settled(recur, state, x, depth)
        f = self.flat(recur, state, x, depth)
        z = SOLVERS[self.config.search](f, flattened(state), self.search_of(calls)).z
        return unflattened(z, state)

    def search_of(self, most: int) -> Search:
        """With at most so many calls of f."""
        config, tolerance = self.config, 0.0 if self.static else self.config.tolerance
        return Search(most, config.mixing, tolerance, config.memory, config.ridge)

    @property
    def unit(self) -> int:
        """Recursions of one f."""
        return self.cycle or 1

    def f(self, recur: Recur, state: State, x: Tensor, first: int, depth: Depth) -> State:
        """f from recursion `first` on."""
        for t in range(first, min(first + self.unit, depth.total)):
            state = recur(state, x, t)
        return state

    def flat(self, recur: Recur, like: State, x: Tensor, depth: Depth) -> Function:
        """f at the last recursions, from vectors (B n) to vectors."""
        first = depth.total - self.unit
        return lambda z: flattened(self.f(recur, unflattened(z, like), x, first, depth))

    def penalties(
        self, recur: Recur, state: State, x: Tensor, depth: Depth, noise: Noise
    ) -> dict[str, Tensor]:
        """|v' J|^2 / n, the mean over random v: |J|^2 / n on average, J the Jacobian of f at the
        last state.
        """
        if not self.config.jacobian:
            return {}
        z = flattened(state).detach().requires_grad_()
        drawn = noise.at(depth.total)  # no recursion has that number
        vectors = [drawn.normal(z) for _ in range(self.config.vectors)]
        with sdpa_kernel(SDPBackend.MATH):  # the fused ones have no second derivative
            value = jacobian_penalty(self.flat(recur, state, x, depth), z, vectors)
        return {"jacobian": self.config.jacobian * value}


def jacobian_penalty(f: Function, z: Tensor, vectors: list[Tensor]) -> Tensor:
    """(B,) mean over the vectors v (B n) of |v' J|^2 / n, with a graph; J that of f at z (B n)."""
    new, total = f(z), 0.0
    for v in vectors:
        (back,) = torch.autograd.grad(new, z, v, create_graph=True)
        total = total + back.square().mean(-1)
    return total / len(vectors)


def flattened(latents: Latents) -> Tensor:
    """All latents of each row, side by side: (B n)."""
    return torch.cat([latent.flatten(1) for latent in latents], dim=1)


def parts(z: Tensor, like: Latents) -> Latents:
    """The latents in z (B n), of the shapes of others."""
    split = z.split([latent[0].numel() for latent in like], dim=1)
    return tuple(part.view_as(latent) for part, latent in zip(split, like, strict=True))


def unflattened(z: Tensor, like: State) -> State:
    return type(like)(*parts(z, like))


@dataclass
class PhantomConfig(EquilibriumConfig):
    """Of `Phantom`."""

    recursions: int = option(least=1)  # k, whole cycles where the model has cycles
    damping: float = option(least=0, most=1)  # tau; 1: not damped


class Phantom(Equilibrium):
    """The last k recursions, damped: z <- tau f(z) + (1 - tau) z. k = 1, tau = 1 is the one-step
    gradient.
    """

    Config = PhantomConfig

    def tracked(self, total: int) -> int:
        return min(total, self.config.recursions * self.unit)

    def states(self, recur: Recur, state: State, x: Tensor, depth: Depth) -> Iterator[State]:
        state = self.found(recur, state, x, depth)
        for first in range(depth.total - depth.tracked, depth.total, self.unit):
            new = self.f(recur, state, x, first, depth)
            state = mixed(self.config.damping, new, state)
            yield state


@dataclass
class ImplicitConfig(EquilibriumConfig):
    """Of `Implicit`."""

    solver: str = option(choices=("iterate", "anderson"))  # of the equation in the backward pass
    iterations: int = option(least=1)  # of the solver


class Implicit(Equilibrium):
    """The gradient at a fixed point, by the implicit function theorem: memory of one recursion,
    exact where it settled.

    The state after the free recursions is taken for the fixed point z* of f. Backwards, g = J' g +
    dloss/dz is solved, J the Jacobian of f at z*, and g goes into f. The equation is solved by so
    many iterations, without a test of convergence unless there is a tolerance.
    """

    Config = ImplicitConfig

    def tracked(self, total: int) -> int:
        return min(total, self.unit)

    def states(self, recur: Recur, state: State, x: Tensor, depth: Depth) -> Iterator[State]:
        state = self.found(recur, state, x, depth)
        point = type(state)(*(z.detach().requires_grad_() for z in state))
        new = self.f(recur, point, x, depth.total - depth.tracked, depth)
        if torch.is_grad_enabled():
            new = type(new)(*Adjoint.apply(self.adjoint, len(point), *point, *new))
        yield new

    def adjoint(self, back: Back, grads: Latents) -> Latents:
        """The g that solves g = back(g) + grads."""
        config = self.config
        if config.solver == "iterate":
            g = grads
            for _ in range(config.iterations):
                g = tuple(a + b for a, b in zip(grads, back(g), strict=True))
            return g

        def f(g: Tensor) -> Tensor:
            return flattened(back(parts(g, grads))) + flattened(grads)

        search = self.search_of(config.iterations)
        return parts(SOLVERS["anderson"](f, flattened(grads), search).z, grads)


class Adjoint(torch.autograd.Function):
    """The identity on a state; turns the loss's gradient there into that at the fixed point."""

    @staticmethod
    def forward(ctx, solve: Callable[[Back, Latents], Latents], latents: int, *tensors: Tensor):
        ctx.solve = solve
        ctx.point, ctx.new = tensors[:latents], tensors[latents:]
        return tuple(z.clone() for z in ctx.new)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple:
        def back(g: Latents) -> Latents:
            options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
            with torch.enable_grad():
                return torch.autograd.grad(ctx.new, ctx.point, g, **options)

        return None, None, *(None for _ in ctx.point), *ctx.solve(back, grads)
