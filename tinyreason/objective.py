"""What a segment is trained for: right answers, a halting head that knows, and what the model
itself asks for.
"""

from tinyreason.halting import Halting
from tinyreason.losses import CrossEntropy, Loss, judge
from tinyreason.metrics import exact
from tinyreason.models.base import Read
from tinyreason.segment import Carry, Trace
from tinyreason.supervision import Supervision


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
