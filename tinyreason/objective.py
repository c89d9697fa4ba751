"""What a segment is trained for: right answers, a halting head that knows, and what the model
itself asks for.
"""

import torch

from tinyreason.gradient import Gradient
from tinyreason.halting import Halting
from tinyreason.losses import CrossEntropy, Loss, judge
from tinyreason.metrics import exact
from tinyreason.models.base import Read, RecursiveModel
from tinyreason.noise import Noise
from tinyreason.recursion import Depth
from tinyreason.segment import Carry, Trace, segment
from tinyreason.supervision import Supervision


def judged_segment(
    model: RecursiveModel,
    carry: Carry,
    depth: Depth,
    gradient: Gradient,
    noise: Noise,
    halting: Halting,
    supervision: Supervision,
    cross_entropy: CrossEntropy,
) -> tuple[Trace, dict[str, Loss]]:
    """A segment as it is trained, and its losses; looks ahead where the rule asks for it."""
    drawn = []
    if supervision.two_depths:
        drawn = segment(model, carry, depth, gradient, noise).reads
        depth = Depth(model.config.recursions, model.config.recursions)
    how = {"every": supervision.every, "frozen": supervision.frozen}
    trace = segment(model, carry, depth, gradient, noise, **how)
    trace = trace._replace(reads=drawn + trace.reads)
    if supervision.chains:
        trace = supervision.followed(model, trace, carry.batch.labels, cross_entropy)
    after, ahead = carry.advance(trace.state), None
    if halting.looks_ahead:
        with torch.no_grad():
            ahead = segment(model, after, depth, gradient, noise).reads[-1]
    return trace, objective(trace, after, halting, supervision, cross_entropy, ahead)


def objective(
    trace: Trace,
    carry: Carry,
    halting: Halting,
    supervision: Supervision,
    cross_entropy: CrossEntropy,
    ahead: Read | None = None,
) -> dict[str, Loss]:
    """The losses of a segment by name.

    `carry` has advanced; `ahead` is for halting rules that look ahead.
    """
    read, labels = trace.reads[-1], carry.batch.labels
    correct = exact(read.answer, labels)
    last = carry.segments >= halting.segments
    losses = halting.losses(read, correct, last, ahead)
    losses |= supervision.losses(judge(cross_entropy, trace.reads, labels, carry.segments))
    return losses | {name: Loss(value) for name, value in trace.penalties.items()}
