"""What moves the weights: reference (scalar loops in float64), determinism (a saved optimizer goes on bitwise)."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests import tiny
from tinyreason.average import Average
from tinyreason.errors import UserError
from tinyreason.optim import AdamATan2, OptimConfig, Optimizers, schedule
from tinyreason.recursion import Depth

CONFIG = OptimConfig(
    rule="adam_atan2",
    matrices="same",
    lr=1e-2,
    betas=[0.9, 0.95],
    weight_decay=0.1,
    muon_lr=2e-2,
    muon_weight_decay=0.1,
    embedding_lr=1e-2,
    embedding_weight_decay=0.1,
    warmup=3,
    min_lr_ratio=0.1,
    clip=None,
)


def backward(model: nn.Module, k: int) -> None:
    """Gradients of step `k` of some training."""
    batch = tiny.batch(seed=k)
    _, read = model(model.start(model.encode(batch)), batch, Depth(4, 2))
    (read.logits.square().mean() + read.halt.square().mean()).backward()


def trained(model: nn.Module, optimizers: Optimizers, steps: range) -> nn.Module:
    for k in steps:
        backward(model, k)
        optimizers.step(torch.tensor(True))
    return model


# ---- AdamATan2


class Scalar:
    """One weight, one step at a time, in Python's float64."""

    def __init__(self, p: float):
        self.p, self.m, self.v, self.t = p, 0.0, 0.0, 0

    def step(self, g: float, lr: float, b1: float, b2: float, decay: float) -> None:
        self.t += 1
        self.p *= 1 - lr * decay
        self.m += (1 - b1) * (g - self.m)
        self.v += (1 - b2) * (g * g - self.v)
        deviation = math.sqrt(self.v) / math.sqrt(1 - b2**self.t)
        self.p -= lr / (1 - b1**self.t) * math.atan2(self.m, deviation)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_adam_atan2_equals_a_scalar_loop_over_200_steps(dtype, tolerance, decay):
    """With a rate that moves and is sometimes 0, and gradients that are sometimes 0, tiny or huge."""
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, dtype=dtype) / 10) for shape in ((3, 2), (4,))]
    scalars = [[Scalar(x) for x in p.detach().double().flatten().tolist()] for p in params]
    optimizer = AdamATan2(params, lr=1e-3, betas=(0.9, 0.95), weight_decay=decay)
    for k in range(200):
        lr = 0.0 if k % 7 == 0 else 1e-3 * (1 + k % 5)
        optimizer.param_groups[0]["lr"] = lr
        for p, row in zip(params, scalars, strict=True):
            p.grad = torch.randn_like(p) * (0.0, 1e-6, 1.0, 1e3)[k % 4]
            for scalar, g in zip(row, p.grad.double().flatten().tolist(), strict=True):
                scalar.step(g, lr, 0.9, 0.95, decay)
        optimizer.step()
    for p, row in zip(params, scalars, strict=True):
        expected = torch.tensor([s.p for s in row], dtype=torch.float64).view_as(p)
        torch.testing.assert_close(p.detach().double(), expected, rtol=0, atol=tolerance)


def test_the_first_step_of_adam_atan2_is_about_the_rate_whatever_the_gradient():
    """lr / (1 - b1) * atan2((1 - b1) g, |g|) = 10 lr atan(0.1) = 0.9967 lr."""
    p = nn.Parameter(torch.zeros(3))
    p.grad = torch.tensor([1e-15, -1.0, 1e15])
    AdamATan2([p], lr=1.0, betas=(0.9, 0.95), weight_decay=0.0).step()
    size = 10 * math.atan(0.1)
    torch.testing.assert_close(p.detach(), torch.tensor([-size, size, -size]))


def test_a_parameter_without_gradient_stays_and_a_zero_gradient_moves_nothing_but_decays():
    without, zero = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    zero.grad = torch.zeros(2)
    AdamATan2([without, zero], lr=0.1, betas=(0.9, 0.95), weight_decay=0.5).step()
    assert torch.equal(without.detach(), torch.ones(2))
    torch.testing.assert_close(zero.detach(), torch.full((2,), 0.95))


# ---- the schedule


def test_the_warm_up_counts_from_1_and_reaches_the_full_rate_at_its_end():
    assert [schedule(k, 4, 10, 1.0) for k in (1, 2, 3, 4, 5, 10)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_the_cosine_ends_at_its_least():
    factors = [schedule(k, 4, 10, 0.1) for k in range(4, 12)]
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1, k / 6))) for k in range(8)]
    assert factors == pytest.approx(expected)
    assert factors[0] == 1
    assert factors[6] == factors[7] == pytest.approx(0.1)


@pytest.mark.parametrize("warmup", [0, 1])
def test_without_warm_up_the_first_step_has_the_full_rate(warmup):
    assert schedule(1, warmup, 10, 1.0) == 1


@pytest.mark.parametrize("matrices", ["same", "muon"])
def test_every_step_is_taken_at_its_own_rate(matrices):
    """Seen from the optimizers: the rate that lies in the group when step k is taken."""
    model = tiny.model()
    optimizers, rates = Optimizers(model, replace(CONFIG, matrices=matrices), steps=8), []
    for optimizer in optimizers.optimizers:
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    trained(model, optimizers, range(8))
    bases = (1e-2, 2e-2) if matrices == "muon" else (1e-2,)
    assert rates == pytest.approx([base * schedule(k, 3, 8, 0.1) for k in range(1, 9) for base in bases])


def test_the_schedule_moves_the_weights_as_the_scalar_loop_says():
    """End to end: heads.halt.bias under Optimizers against the scalar reference with the published rate law."""
    model = tiny.model()
    optimizers = Optimizers(model, CONFIG, steps=6)
    scalars = [Scalar(x) for x in model.heads.halt.bias.tolist()]
    for k in range(1, 7):
        backward(model, k)
        for scalar, g in zip(scalars, model.heads.halt.bias.grad.tolist(), strict=True):
            scalar.step(g, 1e-2 * schedule(k, 3, 6, 0.1), 0.9, 0.95, 0.1)
        optimizers.step(torch.tensor(True))
    assert model.heads.halt.bias.tolist() == pytest.approx([s.p for s in scalars], abs=1e-6)


# ---- which rule takes which weights


@pytest.mark.parametrize("recursion", ["trm", "hrm", "single_z"])
def test_muon_takes_exactly_the_matrices_of_the_cores(recursion):
    model = tiny.model(recursion=recursion, positions="learned")
    rest, muon = Optimizers(model, replace(CONFIG, matrices="muon"), steps=8).optimizers
    assert isinstance(rest, AdamATan2)
    assert isinstance(muon, torch.optim.Muon)
    names = {p: name for name, p in model.named_parameters()}
    taken = {names[p] for group in muon.param_groups for p in group["params"]}
    left = {names[p] for group in rest.param_groups for p in group["params"]}
    assert left == {
        "encoder.tokens",
        "encoder.positions.table",
        *(f"heads.{n}" for n in ("answer.weight", "halt.weight", "halt.bias")),
    }
    assert taken == set(names.values()) - left
    assert all(name.startswith("core") for name in taken)


def test_without_muon_one_rule_takes_all():
    for rule, kind in (("adam_atan2", AdamATan2), ("adamw", torch.optim.AdamW)):
        model = tiny.model()
        (only,) = Optimizers(model, replace(CONFIG, rule=rule), steps=8).optimizers
        assert isinstance(only, kind)
        assert sum(len(g["params"]) for g in only.param_groups) == len(list(model.parameters()))
        assert only.defaults["betas"] == (0.9, 0.95)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rule": "adam"}, ("optim.rule=adam", "adam_atan2", "adamw")),
        ({"matrices": "moun"}, ("optim.matrices=moun", "same", "muon")),
    ],
)
def test_an_unknown_rule_is_refused_with_the_choices(change, words):
    with pytest.raises(UserError) as caught:
        Optimizers(tiny.model(), replace(CONFIG, **change), steps=8)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("clip", [None, 1e-3, 1e6])
def test_clipping_bounds_the_gradient_norm_and_leaves_its_direction(clip):
    model, seen = tiny.model(), {}
    optimizers = Optimizers(model, replace(CONFIG, clip=clip), steps=8)
    params = list(model.parameters())
    optimizers.optimizers[0].register_step_pre_hook(lambda *_: seen.update(after=[p.grad.clone() for p in params]))
    backward(model, 0)
    before = torch.cat([p.grad.flatten() for p in params])
    optimizers.step(torch.tensor(True))
    after = torch.cat([g.flatten() for g in seen["after"]])
    scale = 1.0 if clip is None else min(1.0, clip / before.norm().item())
    torch.testing.assert_close(after, before * scale, rtol=2e-3, atol=0)
    assert all(p.grad is None for p in params)


# ---- the average


def test_the_average_follows_the_weights_from_step_1_on():
    """shadow = d shadow + (1 - d) param after every step, without correction; the shadow begins at the weights."""
    model = tiny.model()
    ema, optimizers = Average(model, 0.9), Optimizers(model, CONFIG, steps=20)
    shadow = {k: p.detach().double().clone() for k, p in model.named_parameters()}
    for k in range(20):
        trained(model, optimizers, range(k, k + 1))
        ema.update(model)
        shadow = {name: 0.9 * shadow[name] + 0.1 * p.detach().double() for name, p in model.named_parameters()}
    for name, p in ema.module.named_parameters():
        torch.testing.assert_close(p.detach().double(), shadow[name], rtol=0, atol=1e-6)
        assert not torch.equal(p, model.get_parameter(name))


def test_the_average_shares_the_puzzle_embedding():
    model = tiny.model()
    ema = Average(model, 0.9)
    model.encoder.puzzles.table[1] = 2.0
    assert ema.module.encoder.puzzles.table is model.encoder.puzzles.table
    ema.update(model)
    assert model.encoder.puzzles.table[1].eq(2).all()
