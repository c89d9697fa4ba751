"""The looped family: reference (published counts and orders of layers), invariants."""

import pytest
import torch

from conf.schema import training_config
from tests import tiny
from tinyreason.errors import UserError
from tinyreason.models import RecursiveModel, make_model, parameter_count
from tinyreason.noise import NoNoise
from tinyreason.puzzle import Facts
from tinyreason.recursion import Depth
from tinyreason.sharing import layer_map
from tinyreason.similarity import similarity

PLAIN = {"injection": "none", "start": "x", "loop_norm": False, "embedding_scale": 1.0}


# ---- reference


@pytest.mark.parametrize(
    ("name", "count"),
    [("transformer", 4_212_992), ("three_part", 4_344_320), ("frailt", 4_214_016)],
)
def test_the_published_counts_of_small_runs_on_text(name, count):
    config, meta = tiny.config("scale=paper", f"model={name}").model, torch.device("meta")
    with meta:
        model = make_model(config, Facts(vocab_size=4096, grid=(1, 8)), meta)
    halting_head = 2 * 256 + 2
    assert parameter_count(model) - halting_head == count


@pytest.mark.parametrize(
    ("sharing", "n", "M", "order"),
    [
        ("cycle", 6, 3, "012012"),
        ("sequence", 6, 3, "001122"),
        ("cycle_rev", 6, 3, "012210"),
        ("cycle_rev", 8, 4, "01233210"),
        ("cycle_rev", 9, 3, "012012210"),
        ("cycle_rev", 10, 4, "0123013210"),
        ("cycle_rev", 5, 3, "01221"),
        ("cycle_rev", 12, 6, "012345543210"),
        ("middle_cycle", 6, 4, "012123"),
        ("middle_sequence", 6, 4, "011223"),
    ],
)
def test_the_orders_of_layers_are_the_published_ones(sharing, n, M, order):
    assert "".join(map(str, layer_map(sharing, n, M))) == order


# ---- invariants


def copies(looped: RecursiveModel, **options) -> RecursiveModel:
    """The untied net whose layers are copies of those that the looped one applies in turn."""
    config = looped.config
    order = [i for t in range(config.recursions) for i in order_of(config, t)]
    sizes = {"layers": len(order), "recursions": 1}
    sharing = "middle_cycle" if config.sharing.startswith("middle") else "cycle"
    untied = tiny.model("looped", sharing=sharing, **PLAIN | options | sizes)
    own, state = looped.state_dict(), untied.state_dict()
    for name in state:
        parts = name.split(".")
        if name.startswith("core.blocks."):
            parts[2] = str(order[int(parts[2])])
        state[name] = own[".".join(parts)]
    untied.load_state_dict(state)
    return untied


def order_of(config, t: int):
    return config.order(t) or range(config.layers)


@pytest.mark.parametrize(
    "sharing", ["cycle", "sequence", "cycle_rev", "middle_cycle", "middle_sequence"]
)
def test_loops_equal_the_net_of_copies_and_their_gradient_is_its_sum(sharing):
    looped = tiny.model("looped", sharing=sharing, layers=2, recursions=3, **PLAIN)
    untied, batch = copies(looped), tiny.batch()
    logits = []
    for model in (looped, untied):
        total = model.config.recursions
        logits.append(tiny.read(model, batch, Depth(total, total)).logits)
        logits[-1].square().mean().backward()
    assert torch.equal(*logits)
    order = [i for t in range(3) for i in order_of(looped.config, t)]
    for layer, block in enumerate(looped.core.blocks):
        for name, p in block.named_parameters():
            used = [i for i, own in enumerate(order) if own == layer]
            grads = [untied.core.blocks[i].get_parameter(name).grad for i in used]
            torch.testing.assert_close(p.grad, sum(grads), rtol=1e-4, atol=1e-7)


def test_three_part_is_blind_to_the_puzzle_without_its_part_of_the_adapter():
    model = tiny.model("three_part", layers=2)
    with torch.no_grad():
        model.adapter.weight[:, :16] = 0
    one, other = (model.encode(tiny.batch(seed=s)) for s in (0, 5))
    state = model.start(one, NoNoise())
    state = type(state)(torch.randn_like(state.z))
    assert torch.equal(model.recur(state, one, 0).z, model.recur(state, other, 0).z)


def test_frailt_without_its_vectors_is_the_plain_loop_bit_for_bit():
    model = tiny.model("frailt", layers=2, recursions=3)
    plain = tiny.model("looped", layers=2, recursions=3, **PLAIN)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k != "iteration"})
    batch, depth = tiny.batch(), Depth(5, 5)  # deeper than it has vectors
    found, expected = (tiny.read(m, batch, depth).logits for m in (model, plain))
    assert torch.equal(found, expected)
    with torch.no_grad():
        model.iteration[-1] += 1
    x = model.encode(batch)
    state = model.start(x, NoNoise())
    late = [model.recur(state, x, t).z for t in (2, 4)]
    assert torch.equal(*late)  # never from the start again
    assert not torch.equal(late[0], model.recur(state, x, 1).z)


def test_lanes_start_as_a_residual_loop():
    """N (x + the sum of what the loops came to), each of a lane that saw all before it."""
    model = tiny.model("hyper_connections", recursions=3)
    x = model.encode(tiny.batch())
    state, expected = model.start(x, NoNoise()), x
    for t in range(3):
        expected = expected + model.loop(expected, t)
        state = model.recur(state, x, t)
    torch.testing.assert_close(state.z.sum(1), 2 * expected)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=hyper_connections", "gradient=one_step"), "use gradient=bptt"),
        (("model=hyper_connections", "model.injection=add"), "use model.injection=none"),
        (("model=looped", "model.sharing=spiral"), "use one of cycle, sequence, cycle_rev"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, said):
    with pytest.raises(UserError) as caught:
        training_config(tiny.composed(["scale=paper", *words]))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_alike_layers_cost_nothing_and_opposite_ones_twice_the_weight():
    model = tiny.model("transformer", layers=4, similarity=0.5, period=2)
    blocks = model.core.blocks
    blocks[2].load_state_dict(blocks[0].state_dict())
    blocks[3].load_state_dict(blocks[1].state_dict())
    assert similarity(blocks, 2).item() == pytest.approx(1)
    state = model.start(model.encode(tiny.batch()), NoNoise())
    (penalty,) = model.penalties(state).values()
    assert penalty.shape == (4,)
    assert penalty.abs().max() < 1e-6
    with torch.no_grad():
        for block in blocks[2:]:
            for p in block.parameters():
                p.neg_()
    (penalty,) = model.penalties(state).values()
    assert penalty[0].item() == pytest.approx(1)
    penalty.sum().backward()
    assert blocks[0].mix.qkv.weight.grad is not None
