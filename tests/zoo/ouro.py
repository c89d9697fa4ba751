"""Recordings of Ouro: states, gates and logits of every loop, the losses of both stages and their
gradients.
"""

import torch
from torch import Tensor

from tests import tiny
from tests.zoo.recording import (
    Recording,
    absolute,
    gradient_difference,
    relative,
    renamed,
)
from tinyreason.losses import Judged, Loss, softmax, total
from tinyreason.models import RecursiveModel
from tinyreason.noise import NoNoise
from tinyreason.puzzle import IGNORE, Batch
from tinyreason.recursion import Depth
from tinyreason.segment import Carry, segment
from tinyreason.supervision import ExitGate, ExitGateConfig, Gate, GateConfig, exit_probability

NAMES = [
    ("model.embed_tokens.weight", "encoder.tokens"),
    ("model.layers.", "core.blocks."),
    ("model.norm", "norm"),
    ("model.early_exit_gate", "gate"),
    ("lm_head", "heads.answer"),
    ("input_layernorm_2", "around_mix.branch"),
    ("input_layernorm", "around_mix.before"),
    ("post_attention_layernorm_2", "around_mlp.branch"),
    ("post_attention_layernorm", "around_mlp.before"),
    ("self_attn.o_proj", "mix.out"),
    ("mlp.down_proj", "mlp.down"),
]
STACKED = {  # matrices that are one of ours together, in order
    "self_attn.q_proj": ("mix.qkv", 0, 3),
    "self_attn.k_proj": ("mix.qkv", 1, 3),
    "self_attn.v_proj": ("mix.qkv", 2, 3),
    "mlp.gate_proj": ("mlp.gate_up", 0, 2),
    "mlp.up_proj": ("mlp.gate_up", 1, 2),
}


def differences(recording: Recording) -> dict[str, float]:
    sizes, batch = recording.config, recording.batch()
    config = recording.model_config(
        "ouro", layers=sizes["layers"], recursions=sizes["loops"], theta=sizes["rope_theta"]
    )
    model = recording.model(config, weights_of(recording))
    depth = Depth(sizes["loops"], sizes["loops"])
    carry = Carry.fresh(model, batch)
    trace = segment(model, carry, depth, tiny.FULL, NoNoise(), every=True)
    gates = torch.stack([read.gate for read in trace.reads])
    logits = torch.stack([read.logits for read in trace.reads])
    p = exit_probability(gates)

    losses = stage_1(trace.reads, batch.labels, sizes["beta"])
    loss = total(losses)
    loss.backward()
    gradients = {name: q.grad for name, q in model.named_parameters()}
    second, gate = stage_2(recording, model, batch)
    return {
        "states": absolute(trace.state.z, recording.tensor("out/states")[-1]),
        "logits": max(
            absolute(logits, recording.tensor("out/logits")),
            absolute(gates, recording.tensor("out/gate_logits")),
            absolute(p, recording.tensor("out/exit_probability")),
            absolute((p[..., None] * logits).sum(0), recording.tensor("out/expected_logits")),
        ),
        "losses": max(
            relative(loss, recording.tensor("stage1/loss")),
            relative(losses["answer_loss"].value.sum(), recording.tensor("stage1/task_loss")),
            relative(losses["exit_entropy"].value.sum(), recording.tensor("stage1/entropy")),
            relative(second, recording.tensor("stage2/loss")),
        ),
        "gradients": max(
            gradient_difference(recording, "stage1/", lambda name: part_of(gradients, name)),
            gradient_difference(recording, "stage2/", lambda name: gate[name]),
        ),
    }


def stage_1(reads: list, labels: Tensor, beta: float) -> dict[str, Loss]:
    """The loss as the reference takes it: the mean over all cells of a batch, as if they were one
    puzzle.
    """
    judged = as_one_puzzle(reads, labels)
    return ExitGate(ExitGateConfig("exit_gate", beta)).losses(judged)


def as_one_puzzle(reads: list, labels: Tensor) -> Judged:
    scored = labels != IGNORE
    cells = [softmax(read.logits, labels.clamp(min=0)) * scored for read in reads]
    flat = [read._replace(gate=read.gate.flatten()[None]) for read in reads]
    cells = torch.stack(cells).flatten(1)[:, None]
    return Judged(flat, cells, scored.flatten()[None], torch.ones(1))


def stage_2(
    recording: Recording, model: RecursiveModel, batch: Batch
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of the gate alone and its gradients; nothing else has any."""
    sizes, labels = recording.config, batch.labels
    model.zero_grad()
    depth = Depth(sizes["loops"], sizes["loops"])
    carry = Carry.fresh(model, batch)
    trace = segment(model, carry, depth, tiny.FULL, NoNoise(), every=True, frozen=True)
    loss = total(gate_losses(trace.reads, labels, sizes))
    loss.backward()
    moved = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert moved.keys() == {"gate.weight", "gate.bias"}
    return loss, moved


def gate_losses(reads: list, labels: Tensor, sizes: dict) -> dict[str, Loss]:
    """Over all cells of a batch, as if they were one puzzle."""
    config = GateConfig("gate", sizes["k"], sizes["gamma"])
    return Gate(config).losses(as_one_puzzle(reads, labels))


def weights_of(recording: Recording) -> dict[str, Tensor]:
    """Under our names, stacked as ours are."""
    theirs = recording.under("weight/")
    weights = {}
    for name, weight in theirs.items():
        part = next((part for part in STACKED if part in name), None)
        if part is None:
            weights[renamed(NAMES, name)] = weight
        else:
            mine = renamed(NAMES, name.replace(part, STACKED[part][0]))
            weights[mine] = torch.cat((weights[mine], weight)) if mine in weights else weight
    return weights


def part_of(gradients: dict[str, Tensor], name: str) -> Tensor:
    """The gradient of a reference's parameter."""
    part = next((part for part in STACKED if part in name), None)
    if part is None:
        return gradients[renamed(NAMES, name)]
    mine, index, count = STACKED[part]
    return gradients[renamed(NAMES, name.replace(part, mine))].chunk(count)[index]
