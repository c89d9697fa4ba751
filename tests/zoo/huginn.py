"""Recordings of Huginn: one batch, its states after each recursion, logits at every depth,
gradients.
"""

from tests import tiny
from tests.zoo.recording import (
    Given,
    Recording,
    absolute,
    gradient_difference,
    mean_loss,
    relative,
    renamed,
)
from tinyreason.recursion import Depth, unroll
from tinyreason.segment import Carry, segment

NAMES = [
    ("transformer.wte", "encoder.tokens"),
    ("encoder.tokens.weight", "encoder.tokens"),
    ("transformer.ln_f", "norm"),
    ("transformer.core_block.", "core.blocks."),
    ("transformer.prelude.", "prelude.blocks."),
    ("transformer.coda.", "coda.blocks."),
    ("transformer.adapter", "adapter"),
    ("lm_head", "heads.answer"),
    ("norm_1", "around_mix.before"),
    ("norm_2", "around_mix.after"),
    ("norm_3", "around_mlp.before"),
    ("norm_4", "around_mlp.after"),
    ("attn.qk_bias", "mix.qk_bias"),
    ("attn.Wqkv", "mix.qkv"),
    ("attn.proj", "mix.out"),
    ("mlp.fc", "mlp.gate_up"),
    ("mlp.proj", "mlp.down"),
]


def differences(recording: Recording) -> dict[str, float]:
    sizes, batch = recording.config, recording.batch()
    config = recording.model_config(
        "huginn",
        prelude=sizes["prelude"],
        layers=sizes["core"],
        coda=sizes["coda"],
        injection=sizes["injection"],
        tied=sizes["tied_head"],
    )
    weights = recording.under("weight/")
    weights.pop("freqs_cis")
    if config.tied:
        weights.pop("lm_head.weight")
    model = recording.model(config, {renamed(NAMES, k): w for k, w in weights.items()})
    start = Given(recording.tensor("draw/s0"))
    total, tracked = sizes["free"] + sizes["tracked"], sizes["tracked"]

    x = model.encode(batch)
    states = [s.z for s in unroll(model.recur, model.start(x, start), x, Depth(total, total))]
    reads = {r: model.read(type(model.start(x, start))(z)) for r, z in enumerate(states, start=1)}
    logits = {int(k): v for k, v in recording.under("out/logits_at/").items()}

    trace = segment(model, Carry.fresh(model, batch), Depth(total, tracked), tiny.FULL, start)
    loss = mean_loss(trace.reads[-1].logits, batch.labels)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {
        "states": max(
            absolute(x, recording.tensor("out/e")),
            *(
                absolute(z, theirs)
                for z, theirs in zip(states, recording.tensor("out/states"), strict=True)
            ),
        ),
        "logits": max(
            absolute(trace.reads[-1].logits, recording.tensor("out/logits")),
            *(absolute(reads[r].logits, theirs) for r, theirs in logits.items()),
        ),
        "losses": relative(loss, recording.tensor("out/loss")),
        "gradients": gradient_difference(recording, "", lambda k: gradients[ours(k)]),
    }


def ours(name: str) -> str:
    """`adapter_whole` is the gradient of all of the adapter."""
    return "adapter.weight" if name == "adapter_whole" else renamed(NAMES, name)
