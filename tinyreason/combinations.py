"""Which choices make no sense together: one line each, before data is loaded.

What a model cannot do stands as a property of its class or its configuration; nothing here asks
for its name.
"""

from typing import Protocol

from tinyreason.depth import DepthConfig, DepthRule, make_depth
from tinyreason.errors import UserError
from tinyreason.gradient import Gradient, GradientConfig, make_gradient
from tinyreason.halting import HaltingConfig
from tinyreason.models import MODELS, ModelConfig, RecursiveModel
from tinyreason.options import chosen
from tinyreason.supervision import SUPERVISIONS, Supervision, SupervisionConfig


class Choices(Protocol):
    """What of a run is looked at."""

    model: ModelConfig
    gradient: GradientConfig
    depth: DepthConfig
    supervision: SupervisionConfig
    halting: HaltingConfig
    steps: int


def refuse_combinations(run: Choices) -> None:
    """Raises UserError."""
    model = chosen(MODELS, "model.name", run.model.name)
    supervision = chosen(SUPERVISIONS, "supervision.name", run.supervision.name)
    gradient = make_gradient(run.gradient, run.model.cycle)
    depth = make_depth(run.depth, run.model.recursions, gradient, run.steps)
    refuse_reads(run, model, supervision)
    refuse_truncated(run.model, depth)
    refuse_unsettled(run, gradient, supervision)
    if run.model.one_segment and run.halting.segments > 1:
        halts = f"model.name={run.model.name} halts for good within a segment"
        raise UserError(f"{halts}; use halting=single")


def refuse_reads(run: Choices, model: type[RecursiveModel], supervision: type[Supervision]) -> None:
    """A supervision that scores what the model does not say."""
    if supervision.needs_gate and not model.gates:
        gated = ", ".join(name for name, one in MODELS.items() if one.gates)
        needs = f"supervision={run.supervision.name} needs a model with a gate (model={gated})"
        raise UserError(f"{needs}; with model.name={run.model.name} use supervision=last")
    if supervision.chains != model.chains:
        has = "has several chains" if model.chains else "has one chain"
        use = "winner" if model.chains else "last"
        raise UserError(f"model.name={run.model.name} {has}; use supervision={use}")


def refuse_truncated(model: ModelConfig, depth: DepthRule) -> None:
    """A gradient that does not reach all that such a model learns."""
    if model.whole_gradient and not depth.whole_gradient:
        learns = f"model.name={model.name} learns something for each of its recursions"
        reaches = "the gradient may reach the last ones alone"
        raise UserError(f"{learns}, and {reaches}; use gradient=bptt depth=fixed")


def refuse_unsettled(run: Choices, gradient: Gradient, supervision: type[Supervision]) -> None:
    """A gradient scheme that is not that of recursions in turn, where these are needed."""
    if gradient.plain:
        return
    scheme, model = f"gradient.name={run.gradient.name}", f"model.name={run.model.name}"
    if run.model.drops_cells:
        works = f"{scheme} works on states of numbers alone"
        raise UserError(f"{works}; with {model} use gradient=bptt")
    if run.model.one_segment:
        halts = f"{model} adds up what it reads and settles nowhere"
        raise UserError(f"{halts}; with {scheme} use gradient=bptt")
    if supervision.two_depths:
        with_it = f"supervision={run.supervision.name} unrolls every recursion"
        raise UserError(f"{with_it}; with {scheme} use gradient=bptt")
