"""What moves the weights: reference (scalar loops in float64), and invariants."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests import tiny
from tinyreason import muon
from tinyreason.ema import EMA
from tinyreason.errors import UserError
from tinyreason.layers import Norm
from tinyreason.muon import Muon, orthogonal
from tinyreason.optim import RULES, AdamATan2, OptimConfig, Optimizers, schedule
from tinyreason.recursion import Depth
from tinyreason.tags import tagged

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
    read = tiny.read(model, batch, Depth(4, 2))
    (read.logits.square().mean() + read.halt.square().mean()).backward()


def step(optimizers: Optimizers) -> None:
    """As the trainer does it."""
    optimizers.schedule_next()
    optimizers.move(torch.tensor(True))


def trained(model: nn.Module, optimizers: Optimizers, steps: range) -> nn.Module:
    for k in steps:
        backward(model, k)
        step(optimizers)
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
    """With a rate that moves and is sometimes 0, and gradients of 0, tiny and huge ones."""
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


@pytest.mark.parametrize("rule", ["adam_atan2", "adamw"])
def test_a_parameter_without_gradient_does_not_change_how_the_others_move(rule):
    """Wherever it stands among them; it begins to count its steps at its first gradient."""
    torch.manual_seed(0)
    start, gradients = torch.randn(3, 4), torch.randn(9, 3, 4)

    def moved(absent: int | None, steps: range) -> list[Tensor]:
        """Three parameters after `steps`; the one numbered `absent` has no gradient for 4 steps."""
        params = [nn.Parameter(start[i].clone()) for i in range(3)]
        options = {"lr": 0.1, "betas": (0.9, 0.95), "weight_decay": 0.1}
        optimizer = RULES[rule](params, **options)
        for k in steps:
            for i, p in enumerate(params):
                p.grad = None if i == absent and k < 4 else gradients[k, i].clone()
            optimizer.step()
        return [p.detach() for p in params]

    everybody = moved(None, range(9))
    for absent in range(3):
        found = moved(absent, range(9))
        others = [i for i in range(3) if i != absent]
        assert all(torch.equal(found[i], everybody[i]) for i in others)
        late = moved(None, range(4, 9))  # as if the first four steps had not been
        torch.testing.assert_close(found[absent], late[absent])
        assert not torch.equal(found[absent], everybody[absent])


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
    """Seen from the optimizers: the rate that lies in each group when step k is taken."""
    model = tiny.model()
    optimizers, rates = Optimizers(model, replace(CONFIG, matrices=matrices), steps=8), []
    for optimizer in optimizers.optimizers:
        optimizer.register_step_pre_hook(
            lambda o, *_: rates.extend(group["lr"] for group in o.param_groups)
        )
    trained(model, optimizers, range(8))
    bases = (1e-2, 2e-2) if matrices == "muon" else (1e-2,)
    assert rates == pytest.approx(
        [base * schedule(k, 3, 8, 0.1) for k in range(1, 9) for base in bases]
    )


def test_the_schedule_moves_the_weights_as_the_scalar_loop_says():
    """End to end: heads.halt.bias under Optimizers, against the scalar reference at its rates."""
    model = tiny.model()
    optimizers = Optimizers(model, CONFIG, steps=6)
    scalars = [Scalar(x) for x in model.heads.halt.bias.tolist()]
    for k in range(1, 7):
        backward(model, k)
        for scalar, g in zip(scalars, model.heads.halt.bias.grad.tolist(), strict=True):
            scalar.step(g, 1e-2 * schedule(k, 3, 6, 0.1), 0.9, 0.95, 0.1)
        step(optimizers)
    assert model.heads.halt.bias.tolist() == pytest.approx([s.p for s in scalars], abs=1e-6)


# ---- which rule takes which weights


@pytest.mark.parametrize("name", ["trm", "hrm", "single_z"])
def test_muon_takes_exactly_the_matrices_of_the_cores(name):
    model = tiny.model(name, positions="learned")
    rest, matrices = Optimizers(model, replace(CONFIG, matrices="muon"), steps=8).optimizers
    assert isinstance(rest, AdamATan2)
    assert isinstance(matrices, Muon)
    names = {p: name for name, p in model.named_parameters()}
    taken = {names[p] for group in matrices.param_groups for p in group["params"]}
    left = {names[p] for group in rest.param_groups for p in group["params"]}
    assert left == {
        "encoder.tokens",
        "encoder.positions.table",
        *(f"heads.{n}" for n in ("answer.weight", "halt.weight", "halt.bias")),
    }
    assert taken == set(names.values()) - left
    assert all(name.startswith("core") for name in taken)


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (8, 8)])
def test_muon_does_what_torch_does_in_bfloat16(shape, monkeypatch):
    monkeypatch.setattr(muon, "fast_type", lambda device: torch.bfloat16)
    start, options = torch.randn(shape, generator=seeded(0)), {"lr": 1e-2, "weight_decay": 0.1}
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    own = Muon([ours], **options)
    reference = torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **options)
    for k in range(20):
        ours.grad = torch.randn(shape, generator=seeded(k))
        theirs.grad = ours.grad.clone()
        own.step()
        reference.step()
    assert (start - theirs).abs().max() > 1e-2
    torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (32, 16)])
def test_muon_brings_singular_values_near_one_and_keeps_their_vectors(shape):
    matrix = torch.randn(shape, generator=seeded(1)).double()
    made = orthogonal(matrix, torch.float64)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    values = u.T @ made @ v.T
    assert values.diagonal().min() > 0.6
    assert values.diagonal().max() < 1.3
    torch.testing.assert_close(values, values.diagonal().diag())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Tagged(nn.Module):
    """A parameter of each kind."""

    def __init__(self):
        super().__init__()
        self.plain = nn.Parameter(torch.ones(4, 4))
        self.kept = tagged(nn.Parameter(torch.ones(4)), decay=False)
        self.slow = tagged(nn.Parameter(torch.ones(4)), lr_scale=0.25)
        self.both = tagged(nn.Parameter(torch.ones(4)), decay=False, lr_scale=0.25)
        self.matrix = tagged(nn.Parameter(torch.eye(4)), matrix=True)
        self.slow_matrix = tagged(nn.Parameter(torch.eye(4)), matrix=True, lr_scale=0.25)

    def step(self, optimizers: Optimizers, gradient: float) -> dict[str, Tensor]:
        """How far each has moved."""
        before = {name: p.detach().clone() for name, p in self.named_parameters()}
        for p in self.parameters():
            p.grad = gradient * torch.ones_like(p)
        step(optimizers)
        return {name: p.detach() - before[name] for name, p in self.named_parameters()}


@pytest.mark.parametrize("rule", ["adam_atan2", "adamw"])
def test_decay_spares_what_is_tagged_and_the_rate_is_scaled(rule):
    """With a gradient of 0 nothing but decay moves a weight of 1."""
    model = Tagged()
    config = replace(CONFIG, rule=rule, warmup=0, min_lr_ratio=1.0)
    moved = model.step(Optimizers(model, config, steps=8), 0.0)
    decay = {name: moved[name].flatten()[0].item() for name in moved}
    full = -1e-2 * 0.1
    expected = {"plain": full, "kept": 0.0, "slow": full / 4, "both": 0.0}
    expected |= {"matrix": full, "slow_matrix": full / 4}
    assert decay == pytest.approx(expected, rel=1e-3)

    model = Tagged()
    config = replace(config, weight_decay=0.0)
    moved = model.step(Optimizers(model, config, steps=8), 1.0)
    size = moved["plain"].flatten()[0].item()
    assert size < -5e-3
    torch.testing.assert_close(moved["kept"], torch.full((4,), size))
    for name in ("slow", "both", "slow_matrix"):
        torch.testing.assert_close(moved[name], torch.full_like(moved[name], size / 4))


@pytest.mark.parametrize("matrices", ["same", "muon"])
def test_every_group_is_scheduled(matrices):
    model = Tagged()
    optimizers = Optimizers(model, replace(CONFIG, matrices=matrices), steps=8)
    groups = [group for o in optimizers.optimizers for group in o.param_groups]
    assert sum(len(group["params"]) for group in groups) == 6
    full = sorted(group["full_lr"] for group in groups)
    base = [2.5e-3, 2.5e-3, 1e-2, 1e-2]
    assert full == pytest.approx(sorted([*base, *([5e-3, 2e-2] if matrices == "muon" else [])]))
    for k in range(1, 9):
        model.step(optimizers, 1.0)
        for group in groups:
            assert group["lr"] == pytest.approx(group["full_lr"] * schedule(k, 3, 8, 0.1))


def test_norms_with_a_weight_are_not_decayed():
    model = nn.Module()
    model.norm = Norm(4)
    (only,) = Optimizers(model, CONFIG, steps=8).optimizers
    assert [group["weight_decay"] for group in only.param_groups] == [0.0]


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
    optimizers.optimizers[0].register_step_pre_hook(
        lambda *_: seen.update(after=[p.grad.clone() for p in params])
    )
    backward(model, 0)
    before = torch.cat([p.grad.flatten() for p in params])
    step(optimizers)
    after = torch.cat([g.flatten() for g in seen["after"]])
    scale = 1.0 if clip is None else min(1.0, clip / before.norm().item())
    torch.testing.assert_close(after, before * scale, rtol=2e-3, atol=0)
    assert all(p.grad is None for p in params)


# ---- the average


def test_the_average_follows_the_weights_from_step_1_on():
    """shadow = d shadow + (1 - d) param after every step, uncorrected; it begins at the weights."""
    model = tiny.model()
    ema, optimizers = EMA(model, 0.9), Optimizers(model, CONFIG, steps=20)
    shadow = {k: p.detach().double().clone() for k, p in model.named_parameters()}
    for k in range(20):
        trained(model, optimizers, range(k, k + 1))
        ema.update(model)
        shadow = {
            name: 0.9 * shadow[name] + 0.1 * p.detach().double()
            for name, p in model.named_parameters()
        }
    for name, p in ema.module.named_parameters():
        torch.testing.assert_close(p.detach().double(), shadow[name], rtol=0, atol=1e-6)
        assert not torch.equal(p, model.get_parameter(name))


def test_the_average_shares_the_puzzle_embedding():
    model = tiny.model()
    ema = EMA(model, 0.9)
    model.encoder.puzzles.table[1] = 2.0
    assert ema.module.encoder.puzzles.table is model.encoder.puzzles.table
    ema.update(model)
    assert model.encoder.puzzles.table[1].eq(2).all()
