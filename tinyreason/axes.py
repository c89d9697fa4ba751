"""The axes of a run whose name decides which options they have."""

from tinyreason.depth import DEPTHS
from tinyreason.gradient import GRADIENTS
from tinyreason.models import MODELS
from tinyreason.supervision import SUPERVISIONS

AXES = {
    "model": MODELS,
    "gradient": GRADIENTS,
    "depth": DEPTHS,
    "supervision": SUPERVISIONS,
}
