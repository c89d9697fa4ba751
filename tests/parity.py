"""Does a model of ours compute what the reference computed? `python -m tests.parity FILE.npz`

A file holds one tiny reference model, float32 on CPU: its configuration, weights, one batch, and
what it computed; of HRM and TRM here, over three segments with the carry kept; of the others in
`tests/zoo/`. Prints one JSON line of the largest differences, exit code 1 beyond the tolerances.

Each segment of HRM and TRM starts from the recorded carry of the one before: with random weights
the recursion amplifies rounding.
"""

import json
import sys
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from eval.adopt import ours
from tests import tiny, zoo
from tests.zoo.recording import TOLERANCE as ZOO_TOLERANCE
from tests.zoo.recording import Recording, absolute
from tinyreason.gradient import Gradient
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.losses import stablemax, total
from tinyreason.metrics import tally
from tinyreason.models import ModelConfig, RecursiveModel, State, make_model
from tinyreason.noise import NoNoise
from tinyreason.objective import objective
from tinyreason.puzzle import Batch, Facts
from tinyreason.recursion import Depth
from tinyreason.segment import Carry, segment
from tinyreason.supervision import SupervisionConfig, make_supervision

TOLERANCE = {
    "states": 3e-4,
    "logits": 3e-4,
    "losses": 1e-5,
    "gradients": 1e-4,
    "steps": 0,
    "halted": 0,
}


class Golden:
    """One recorded file of HRM or TRM, and our model with its weights.

    `gradient` replaces the published scheme.
    """

    def __init__(self, path: Path, gradient: Gradient | None = None):
        self.data = dict(np.load(path, allow_pickle=False))
        reference = json.loads(str(self.data["config"]))
        is_hrm = "hrm" in reference["reference"].lower()
        config = model_config(reference, is_hrm)
        scheme = "one_step" if is_hrm else "full"
        self.gradient = gradient or tiny.gradient(scheme, config.cycle)
        self.depth = Depth(config.recursions, self.gradient.tracked(config.recursions))
        identifiers = len(self.data["weight/inner.puzzle_emb.weights"])
        grid = (1, reference["seq_len"])
        self.facts = Facts(reference["vocab_size"], grid, num_puzzle_identifiers=identifiers)
        self.rename = lambda name: ours(name, "hrm" if is_hrm else "trm")
        self.model = self.load(make_model(config, self.facts, torch.device("cpu")))
        rule = "q_learning" if is_hrm else "correctness"
        self.halting = make_halting(HaltingConfig(rule, reference["halt_max_steps"], 0.0, 0.5))
        keys = ("inputs", "labels", "puzzle_identifiers")
        self.batch = Batch(*(self.tensor(f"batch/{key}") for key in keys))
        self.batch.labels = self.batch.labels.long()

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.data[key])

    def load(self, model: RecursiveModel) -> RecursiveModel:
        weights = {
            k.removeprefix("weight/"): self.tensor(k) for k in self.data if k.startswith("weight/")
        }
        model.load_state_dict({self.rename(k): v for k, v in weights.items()})
        return model

    def carry(self, number: int) -> Carry:
        """The carry that the reference had before segment `number`."""
        carry = Carry.fresh(self.model, self.batch)
        if number:
            of = f"seg{number - 1}/"
            state = State(self.tensor(of + "z_H"), self.tensor(of + "z_L"))
            carry = Carry(state, self.batch, self.tensor(of + "steps"), self.tensor(of + "halted"))
        return carry.refill(self.batch)

    def differences(self, number: int) -> dict[str, float]:
        """Largest differences of one segment, by the groups of TOLERANCE."""
        model, of, scheme = self.model, f"seg{number}/", (self.depth, self.gradient, NoNoise())
        model.zero_grad()
        trace = segment(model, self.carry(number), *scheme)
        rows = model.encoder.puzzles.used[-1][1]
        state, read = trace.state, trace.reads[-1]
        carry = self.carry(number).advance(state)
        carry.halted = self.halting.done(read, carry.segments, torch.Generator())
        with torch.no_grad():
            ahead = segment(model, carry, *scheme).reads[-1]
        supervision = make_supervision(SupervisionConfig("last"))
        losses = objective(trace, carry, self.halting, supervision, stablemax, ahead)
        sums = tally(losses, read, carry)
        total(losses).backward()
        named = {"loss": "loss", "lm_loss": "answer_loss", "q_halt_loss": "q_halt_loss"}
        if of + "q_continue_loss" in self.data:
            named["q_continue_loss"] = "q_continue_loss"
        found = [
            relative(sums[mine].total, self.tensor(of + theirs)) for theirs, mine in named.items()
        ]
        return {
            "states": max(absolute(getattr(state, k), self.tensor(of + k)) for k in ("z_H", "z_L")),
            "logits": max(
                absolute(read.logits, self.tensor(of + "logits")),
                absolute(read.halt, self.tensor(of + "q_logits")),
            ),
            "losses": max(found),
            "gradients": self.gradient_difference(of, rows.grad),
            "steps": absolute(carry.segments, self.tensor(of + "steps")),
            "halted": absolute(carry.halted, self.tensor(of + "halted")),
        }

    def gradient_difference(self, of: str, puzzle_rows: Tensor) -> float:
        gradients = {k: p.grad for k, p in self.model.named_parameters()}
        largest = 0.0
        for key in (k for k in self.data if k.startswith((of + "grad/", of + "grad_norm/"))):
            kind, name = key.removeprefix(of).split("/", 1)
            mine = puzzle_rows if name == "puzzle_rows" else gradients[self.rename(name)]
            if kind == "grad_norm":
                mine = mine.norm()
            largest = max(largest, relative(mine, self.tensor(key)))
        return largest


def model_config(reference: dict, is_hrm: bool) -> ModelConfig:
    """Our configuration of a reference's."""
    positions = reference["pos_encodings"]
    options = {"layers": reference["L_layers"]}
    if is_hrm:
        options |= {"H_layers": reference["H_layers"], "L_layers": reference["L_layers"]}
    return tiny.model_config(
        "hrm" if is_hrm else "trm",
        mix="mixer" if reference.get("mlp_t") else "attention",
        width=reference["hidden_size"],
        heads=reference["num_heads"],
        expansion=reference["expansion"],
        inner_multiple=256,
        H_cycles=reference["H_cycles"],
        L_cycles=reference["L_cycles"],
        positions={"rope": "rotary"}.get(positions, positions),
        prefix=reference.get("puzzle_emb_len", 1 if is_hrm else 16),
        **options,
    )


def relative(mine: Tensor, theirs: Tensor) -> float:
    """Of the norm."""
    size = theirs.double().norm().clamp(min=1e-12)
    return float((mine.detach().double() - theirs.double()).norm() / size)


def largest_differences(golden: Golden) -> dict[str, float]:
    """Over all recorded segments."""
    segments = [golden.differences(k) for k in range(3)]
    return {k: max(s[k] for s in segments) for k in TOLERANCE}


def compared(path: Path) -> tuple[dict[str, float], dict[str, float]]:
    """The largest differences from a recorded file, and what is tolerated."""
    recording = Recording(path)
    if reader := zoo.reader_of(recording):
        return reader.differences(recording), ZOO_TOLERANCE
    return largest_differences(Golden(path)), TOLERANCE


def main() -> int:
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        usage = "usage: python -m tests.parity FILE.npz, as tests/golden/hrm.npz"
        print(f"error: no such file; {usage}", file=sys.stderr)
        return 2
    try:
        found, tolerance = compared(Path(sys.argv[1]))
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        reason = " ".join(str(error).split())[:80]
        print(f"error: {sys.argv[1]}: no recording of a reference ({reason})", file=sys.stderr)
        return 2
    print(json.dumps(found))
    return int(any(found[k] > tolerance[k] for k in found))


if __name__ == "__main__":
    sys.exit(main())
