"""What moves the weights: AdamATan2 or AdamW, Muon for matrices if asked, sign-SGD for puzzle
embeddings; one schedule.

Own here: AdamATan2 (the published package needs a CUDA build; the pure-torch one on PyPI is another
rule, with another scale and the bias correction inside the arctangent).
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tinyreason import earlier
from tinyreason.device import widest
from tinyreason.errors import UserError
from tinyreason.muon import Muon
from tinyreason.options import Options, chosen, option
from tinyreason.puzzle_embedding import PuzzleEmbedding
from tinyreason.tags import Tag, tag_of


@dataclass
class OptimConfig(Options):
    """The optimizer of a run; the values stand in `conf/optim/*.yaml`."""

    rule: str  # a name in RULES, for all that Muon does not take
    matrices: str = option(choices=("same", "muon"))  # the rule of the cores' weight matrices
    lr: float = option(least=0)
    betas: list[float]
    weight_decay: float = option(least=0)
    muon_lr: float = option(least=0)
    muon_weight_decay: float = option(least=0)
    embedding_lr: float = option(least=0)  # of the puzzle embedding
    embedding_weight_decay: float = option(least=0)
    warmup: int = option(least=0)  # steps of linear warm-up
    min_lr_ratio: float = option(least=0, most=1)  # of the cosine's end; 1: constant after warm-up
    clip: float | None = option(least=0)  # largest gradient norm

    def check_together(self, prefix: str) -> None:
        chosen(RULES, f"{prefix}rule", self.rule)
        good = [b for b in self.betas if isinstance(b, int | float) and 0 <= b < 1]  # no maps
        if len(self.betas) != 2 or len(good) != 2:
            wanted = "must be two numbers from 0 to below 1, as in 'optim.betas=[0.9,0.95]'"
            raise UserError(f"{prefix}betas={self.betas} {wanted}")


class AdamATan2(torch.optim.Optimizer):
    """Adam without epsilon, arXiv 2407.05872, as HRM and TRM run it:

    p *= 1 - lr wd;  m = lerp(m, g, 1 - b1);  v = lerp(v, g g, 1 - b2);
    p -= lr / (1 - b1^t) * atan2(m, sqrt(v) / sqrt(1 - b2^t))
    """

    def __init__(self, params, lr: float, betas: tuple[float, float], weight_decay: float):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self.update(group, params, [p.grad for p in params])

    def update(self, group: dict, params: list[Tensor], grads: list[Tensor]) -> None:
        """One step of the parameters of a group that have a gradient."""
        lr, (b1, b2) = group["lr"], group["betas"]
        t = self.count(params)
        m, v = ([self.moment(p, name) for p in params] for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        torch._foreach_lerp_(m, grads, 1 - b1)
        torch._foreach_lerp_(v, torch._foreach_mul(grads, grads), 1 - b2)
        scale = torch._foreach_sqrt(v)
        torch._foreach_div_(scale, list((1 - b2**t).sqrt().to(scale[0].dtype).unbind()))
        sizes = (lr / (1 - b1**t)).unbind()
        for p, size, mean, deviation in zip(params, sizes, m, scale, strict=True):
            p.sub_(size * torch.atan2(mean, deviation))

    def count(self, params: list[Tensor]) -> Tensor:
        """(parameters,) float64, or what the device has: the number of this step for each, since
        its first with a gradient.

        The counts lie on the device, where a bad step takes them back.
        """
        for p in params:
            self.state[p].setdefault("t", torch.zeros((), dtype=p.dtype, device=p.device))
        counts = [self.state[p]["t"] for p in params]
        torch._foreach_add_(counts, 1)
        return torch.stack(counts).to(widest(counts[0].device))

    def moment(self, p: Tensor, name: str) -> Tensor:
        """A running mean of `p`'s gradient, made at first use."""
        if name not in self.state[p]:
            self.state[p][name] = torch.zeros_like(p)
        return self.state[p][name]


# fused, because the step counts of the other AdamW lie on the CPU, where a bad step on CUDA could
# not take them back
RULES = {"adam_atan2": AdamATan2, "adamw": partial(torch.optim.AdamW, fused=True)}


class Optimizers:
    """Everything that moves the weights of a model, stepped as one."""

    def __init__(self, model: nn.Module, config: OptimConfig, steps: int):
        self.config, self.step_count = config, 0
        self.parameters = list(model.parameters())
        self.embeddings = [m for m in model.modules() if isinstance(m, PuzzleEmbedding)]
        self.schedule = lambda step: schedule(step, config.warmup, steps, config.min_lr_ratio)
        self.optimizers = make_optimizers(model, config)
        self.embedding_lr: float | Tensor = config.embedding_lr

    @property
    def lr(self) -> float:
        """Of the rule, at the last step."""
        return self.config.lr * self.schedule(self.step_count)

    def norm(self) -> Tensor:
        """Of the gradient, puzzle embeddings included: finite if all of it is."""
        own = [p.grad for p in self.parameters if p.grad is not None]
        return nn.utils.get_total_norm(own + [g for e in self.embeddings for g in e.gradients()])

    def moved(self) -> list[Tensor]:
        """Parameters and states: all that `move` moves, but for tables of puzzles."""
        states = [v for o in self.optimizers for state in o.state.values() for v in state.values()]
        return self.parameters + [v for v in states if torch.is_tensor(v)]

    def schedule_next(self) -> None:
        """The host's part of a step: the learning rates of the next one."""
        self.step_count += 1
        factor = self.schedule(self.step_count)
        for group in self.groups():
            group["lr"] = set_to(group["lr"], group["full_lr"] * factor)
        self.embedding_lr = set_to(self.embedding_lr, self.config.embedding_lr * factor)

    def move(self, good: Tensor) -> None:
        """The device's part of a step: clip, step and clear the gradients.

        Tables of puzzles stay unless `good`.
        """
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for embedding in self.embeddings:
            embedding.step(self.embedding_lr, self.config.embedding_weight_decay, good)

    def groups(self) -> list[dict]:
        """Of parameters with the same learning rate and decay."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def recordable(self) -> bool:
        """All rules can read their learning rate from the device: torch's rounds it to float32."""
        return all(isinstance(optimizer, AdamATan2 | Muon) for optimizer in self.optimizers)

    def keep_rates_on(self, device: torch.device) -> None:
        """From here on learning rates are tensors, which `schedule_next` writes: the same bits."""
        made = {"dtype": widest(device), "device": device}
        for group in self.groups():
            group["lr"] = torch.tensor(float(group["lr"]), **made)
        self.embedding_lr = torch.tensor(float(self.embedding_lr), **made)

    def state_dict(self) -> dict:
        """What the optimizers have gathered; their options are the configuration's, which may
        change.
        """
        return {
            "step": self.step_count,
            "states": [(kind(o), o.state_dict()["state"]) for o in self.optimizers],
        }

    def load_state_dict(self, saved: dict) -> None:
        """Raises ValueError if `saved` is not of such optimizers."""
        self.step_count = saved["step"]
        for own, (rule, state) in zip(self.optimizers, saved["states"], strict=True):
            if rule != kind(own):
                raise ValueError(f"saved by {rule}, not {kind(own)}")
            if isinstance(own, AdamATan2):
                state = earlier.optimizer(state)
            own.load_state_dict(own.state_dict() | {"state": state})


def set_to(rate: float | Tensor, value: float) -> float | Tensor:
    """`value`; written into `rate` where that is a tensor."""
    return rate.fill_(value) if torch.is_tensor(rate) else value


def kind(optimizer: torch.optim.Optimizer) -> str:
    return type(optimizer).__name__


def make_optimizers(model: nn.Module, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """Muon, if asked for, takes the matrices of the cores; the rule takes the rest (embeddings,
    heads, biases).
    """
    rule = chosen(RULES, "optim.rule", config.rule)
    config.check("optim.")
    rest, muon = [], []
    for p in model.parameters():
        to_muon = config.matrices == "muon" and tag_of(p).matrix
        (muon if to_muon else rest).append(p)
    options = {"lr": config.lr, "betas": tuple(config.betas), "weight_decay": config.weight_decay}
    optimizers = [rule(groups_of(rest, config.lr, config.weight_decay), **options)]
    if muon:
        lr, weight_decay = config.muon_lr, config.muon_weight_decay
        optimizers.append(Muon(groups_of(muon, lr, weight_decay), lr, weight_decay))
    return optimizers


def groups_of(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> list[dict]:
    """The parameters in groups of the same learning rate and decay, by their tags."""
    groups: dict[Tag, list[nn.Parameter]] = {}
    for p in parameters:
        groups.setdefault(tag_of(p)._replace(matrix=False), []).append(p)
    return [
        {
            "params": members,
            "full_lr": lr * tag.lr_scale,  # what the schedule takes a share of
            "lr": lr * tag.lr_scale,
            "weight_decay": weight_decay if tag.decay else 0.0,
        }
        for tag, members in groups.items()
    ]


def schedule(step: int, warmup: int, steps: int, min_ratio: float) -> float:
    """Factor of the learning rate at a step, from 1: linear warm-up, then a half cosine."""
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
