"""Does a model of ours compute what the reference computed? `python -m tests.parity FILE.npz`

A file holds one tiny reference model, float32 on CPU: its configuration, weights, one batch, and what it computed over
three segments with the carry kept. Prints one JSON line of the largest differences, exit code 1 beyond TOLERANCE.

Each segment starts from the recorded carry of the one before: with random weights the recursion amplifies rounding.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.losses import objective, stablemax, tally
from tinyreason.models import ModelConfig, RecursiveModel, State, make_model
from tinyreason.puzzle import Batch, Facts
from tinyreason.segment import Carry

TOLERANCE = {"states": 3e-4, "logits": 3e-4, "losses": 1e-5, "gradients": 1e-4, "steps": 0, "halted": 0}

NAMES = [  # the reference's names -> ours
    ("inner.embed_tokens.embedding_weight", "encoder.tokens"),
    ("inner.puzzle_emb.weights", "encoder.puzzles.table"),
    ("inner.lm_head.", "heads.answer."),
    ("inner.q_head.", "heads.halt."),
    ("inner.H_init", "start_z_H"),
    ("inner.L_init", "start_z_L"),
    ("inner.H_level.layers.", "core_H.blocks."),
    ("inner.L_level.layers.", "core_L.blocks."),
    ("self_attn.qkv_proj", "mix.qkv"),
    ("self_attn.o_proj", "mix.out"),
    ("mlp_t.", "mix.mlp."),
    ("gate_up_proj", "gate_up"),
    ("down_proj", "down"),
]


class Golden:
    """One recorded file, and our model with its weights. `gradient` replaces the published scheme."""

    def __init__(self, path: Path, gradient: str | int | None = None):
        self.data = dict(np.load(path))
        reference = json.loads(str(self.data["config"]))
        is_hrm = "hrm" in reference["reference"]
        self.model_config = model_config(reference, is_hrm)
        if gradient is not None:
            self.model_config = replace(self.model_config, gradient=str(gradient))
        rows = int(reference["seq_len"] ** 0.5)
        self.facts = Facts(reference["vocab_size"], (rows, reference["seq_len"] // rows), num_puzzle_identifiers=3)
        self.rename = lambda name: ours(name, is_hrm)
        self.model = self.load(make_model(self.model_config, self.facts, torch.device("cpu")))
        rule = "q_learning" if is_hrm else "correctness"
        self.halting = make_halting(HaltingConfig(rule, reference["halt_max_steps"], 0.0))
        self.batch = Batch(*(self.tensor(f"batch/{k}") for k in ("inputs", "labels", "puzzle_identifiers")))
        self.batch.labels = self.batch.labels.long()

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.data[key])

    def load(self, model: RecursiveModel) -> RecursiveModel:
        weights = {k.removeprefix("weight/"): self.tensor(k) for k in self.data if k.startswith("weight/")}
        model.load_state_dict({self.rename(k): v for k, v in weights.items()})
        return model

    def carry(self, segment: int) -> Carry:
        """The carry that the reference had before `segment`."""
        carry = Carry.fresh(self.model, self.batch)
        if segment:
            of = f"seg{segment - 1}/"
            state = State(self.tensor(of + "z_H"), self.tensor(of + "z_L"))
            carry = Carry(state, self.batch, self.tensor(of + "steps"), self.tensor(of + "halted"))
        return carry.refill(self.batch, self.model)

    def differences(self, segment: int) -> dict[str, float]:
        """Largest differences of one segment, by the groups of TOLERANCE."""
        model, depth, of = self.model, self.model_config.depth, f"seg{segment}/"
        carry = self.carry(segment)
        model.zero_grad()
        state, read = model(carry.state, carry.batch, depth)
        carry = carry.advance(state, lambda n: self.halting.done(read, n, torch.Generator()))
        with torch.no_grad():
            ahead = model(carry.state, carry.batch, depth)[1]
        encoder_rows = model.encoder.puzzles.used[-1][1]
        loss, losses = objective(read, carry, self.halting, stablemax, lambda: ahead)
        sums = tally(losses, read, carry)
        loss.backward()
        named = {"loss": "loss", "lm_loss": "answer_loss", "q_halt_loss": "q_halt_loss"}
        named |= {"q_continue_loss": "q_continue_loss"} if of + "q_continue_loss" in self.data else {}
        losses = [relative(sums[mine], self.tensor(of + theirs)) for theirs, mine in named.items()]
        return {
            "states": max(absolute(getattr(state, k), self.tensor(of + k)) for k in ("z_H", "z_L")),
            "logits": max(
                absolute(read.logits, self.tensor(of + "logits")), absolute(read.halt, self.tensor(of + "q_logits"))
            ),
            "losses": max(losses),
            "gradients": self.gradient_difference(of, encoder_rows.grad),
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
    return ModelConfig(
        recursion="hrm" if is_hrm else "trm",
        mix="mixer" if reference.get("mlp_t") else "attention",
        width=reference["hidden_size"],
        heads=reference["num_heads"],
        layers=reference["L_layers"],
        expansion=reference["expansion"],
        inner_multiple=256,
        H_cycles=reference["H_cycles"],
        L_cycles=reference["L_cycles"],
        positions={"rope": "rotary"}.get(reference["pos_encodings"], reference["pos_encodings"]),
        prefix=reference.get("puzzle_emb_len", 1 if is_hrm else 16),
        puzzle_embedding=True,
        gradient="one_step" if is_hrm else "full",
        checkpoint=False,
        dtype="float32",
    )


def ours(name: str, is_hrm: bool) -> str:
    for theirs, mine in NAMES:
        name = name.replace(theirs, mine)
    return name if is_hrm else name.replace("core_L.", "core.")


def absolute(mine: Tensor, theirs: Tensor) -> float:
    return float((mine.detach().double() - theirs.double()).abs().max())


def relative(mine: Tensor, theirs: Tensor) -> float:
    return float((mine.detach().double() - theirs.double()).norm() / theirs.double().norm().clamp(min=1e-12))


def largest_differences(golden: Golden) -> dict[str, float]:
    """Over all recorded segments."""
    segments = [golden.differences(k) for k in range(3)]
    return {k: max(s[k] for s in segments) for k in TOLERANCE}


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print("error: no such file; usage: python -m tests.parity FILE.npz, e.g. tests/golden/hrm.npz", file=sys.stderr)
        return 2
    try:
        golden = Golden(Path(sys.argv[1]))
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        reason = " ".join(str(error).split())[:80]
        print(f"error: {sys.argv[1]}: no recording of a reference ({reason})", file=sys.stderr)
        return 2
    found = largest_differences(golden)
    print(json.dumps(found))
    return int(any(found[k] > TOLERANCE[k] for k in TOLERANCE))


if __name__ == "__main__":
    sys.exit(main())
