"""The looped family: reference (published counts and orders of layers), invariants."""

import pytest
import torch

from conf.schema import training_config
from tests import tiny
from tests.zoo.looped import StandardNormal
from tinyreason.errors import UserError
from tinyreason.lanes import Lanes
from tinyreason.layers import Norm
from tinyreason.models import RecursiveModel, make_model, parameter_count
from tinyreason.noise import NoNoise
from tinyreason.puzzle import Facts
from tinyreason.recursion import Depth
from tinyreason.sharing import ENDS, SHARINGS, layer_map
from tinyreason.similarity import similarity

LAST_4 = ("gradient=last", "gradient.recursions=4")
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


@pytest.mark.parametrize(("n", "loops"), [(6, 2), (6, 3), (12, 4), (12, 2), (8, 8)])
def test_the_orders_follow_the_published_rules(n, loops):
    """Mixture-of-Recursions: base b of n = b K layers, or of n = b K + 2 with ends of their own."""
    base = n // loops
    assert list(layer_map("cycle", n, base)) == [i % base for i in range(n)]
    assert list(layer_map("sequence", n, base)) == [i // loops for i in range(n)]
    middle = range(1, n + 1)
    found = layer_map("middle_cycle", n + 2, base + 2)
    assert list(found) == [0, *(1 + (i - 1) % base for i in middle), base + 1]
    found = layer_map("middle_sequence", n + 2, base + 2)
    assert list(found) == [0, *(1 + (i - 1) // loops for i in middle), base + 1]


# ---- invariants


def copies(looped: RecursiveModel) -> RecursiveModel:
    """The untied net whose layers are copies of those that the looped one applies in turn."""
    order = unrolled(looped.config)
    sharing = "middle_cycle" if looped.config.sharing.startswith("middle") else "cycle"
    untied = tiny.model("transformer", sharing=sharing, layers=len(order))
    own, state = looped.state_dict(), untied.state_dict()
    for name in state:
        parts = name.split(".")
        if name.startswith("core.blocks."):
            parts[2] = str(order[int(parts[2])])
        state[name] = own[".".join(parts)]
    untied.load_state_dict(state)
    return untied


def unrolled(config) -> list[int]:
    """The layers of the core that the stated loops apply, in turn."""
    loops = (config.order(t) or range(config.layers) for t in range(config.recursions))
    return [layer for loop in loops for layer in loop]


@pytest.mark.parametrize("sharing", SHARINGS)
def test_loops_equal_the_net_of_copies_and_their_gradient_is_its_sum(sharing):
    looped = tiny.model("looped", sharing=sharing, layers=2, recursions=3, **PLAIN)
    untied, batch = copies(looped), tiny.batch()
    logits = []
    for model in (looped, untied):
        total = model.config.recursions
        logits.append(tiny.read(model, batch, Depth(total, total)).logits)
        logits[-1].square().mean().backward()
    assert torch.equal(*logits)
    order = unrolled(looped.config)
    for layer, block in enumerate(looped.core.blocks):
        for name, p in block.named_parameters():
            used = [i for i, own in enumerate(order) if own == layer]
            grads = [untied.core.blocks[i].get_parameter(name).grad for i in used]
            torch.testing.assert_close(p.grad, sum(grads), rtol=1e-4, atol=1e-7)
    for name, p in looped.named_parameters():
        if p.grad is not None and not name.startswith("core."):
            once = untied.get_parameter(name).grad
            torch.testing.assert_close(p.grad, once, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_loops_take_the_parts_of_the_order_in_turn_and_then_the_last_one(sharing):
    config = tiny.model_config("looped", sharing=sharing, layers=3, recursions=4)
    order = tuple(unrolled(config))
    if sharing.startswith(ENDS):
        order = (0, *(1 + i for i in order), 4)
        assert order == layer_map(sharing, 14, 5)
    else:
        assert order == layer_map(sharing, 12, 3)
    assert config.order(9) == config.order(3)


def test_a_stack_and_its_loops_have_the_same_names():
    """So that one can be made of the other."""
    models = ("transformer", "looped", "relaxed")
    names = {name: set(tiny.model(name, layers=2).state_dict()) for name in models}
    assert names["transformer"] == names["looped"] - {"loop_norm.weight"}
    assert names["transformer"] == {n for n in names["relaxed"] if not n.startswith("lora.")}
    assert {"encoder.tokens", "norm.weight", "core.blocks.1.mix.qkv.weight"} < names["transformer"]


def test_a_linear_injection_starts_with_the_puzzle_alone():
    """W = [I|0], x first: arXiv 2604.21106."""
    model = tiny.model("looped", injection="linear", start="x")
    x, z = torch.randn(2, 4, 5, 16)
    assert torch.equal(model.injected(z, x), x)
    with torch.no_grad():
        model.adapter.weight[:, 16:] += torch.eye(16)
    torch.testing.assert_close(model.injected(z, x), x + z)


def test_three_part_starts_at_random_and_keeps_the_norm_in_its_state():
    model = tiny.model("three_part", layers=2, sigma=3.0)
    x = model.encode(tiny.batch())
    drawn = torch.randn_like(x)
    state = model.start(x, StandardNormal(drawn))
    assert torch.equal(state.z, 3 * drawn)
    sizes = model.recur(state, x, 0).z.square().mean(-1)
    torch.testing.assert_close(sizes, torch.ones_like(sizes), rtol=1e-3, atol=0)


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


def test_each_lane_is_read_in_turn_and_the_last_loop_goes_on():
    """alpha[r] = e_{r mod N}, M = I, beta = 1; what is beyond the stated loops is the last one."""
    lanes = Lanes(lanes=2, loops=3)
    state = torch.randn(4, 2, 5, 16)
    for t, lane in enumerate((0, 1, 0)):
        assert torch.equal(lanes.mixed(state, t), state[:, lane])
    assert sum(p.numel() for p in lanes.parameters()) == 3 * (2**2 + 2 * 2)
    with torch.no_grad():
        lanes.alpha[2] = torch.tensor([2.0, -1.0])
        lanes.mixing[2], lanes.beta[2] = torch.tensor([[0.0, 1.0], [3.0, 0.0]]), 5.0
    new = torch.randn(4, 5, 16)
    for t in (2, 3, 7):
        torch.testing.assert_close(lanes.mixed(state, t), 2 * state[:, 0] - state[:, 1])
        moved = lanes.moved(state, new, t)
        torch.testing.assert_close(moved[:, 0], state[:, 1] + 5 * new)
        torch.testing.assert_close(moved[:, 1], 3 * state[:, 0] + 5 * new)


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
        (("model=hyper_connections", *LAST_4, "depth=poisson"), "use gradient=bptt"),
        (("model=hyper_connections", "depth=uniform"), "use gradient=bptt depth=fixed"),
        (("model=hyper_connections", "model.injection=add"), "use model.injection=none"),
        (("model=transformer", "model.similarity=1", "model.period=4"), "smaller model.period"),
        (("model=looped", "model.sharing=spiral"), "use one of cycle, sequence, cycle_rev"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, said):
    with pytest.raises(UserError) as caught:
        training_config(tiny.composed(["scale=paper", *words]))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", ["fixed", "poisson"])
def test_a_gradient_that_reaches_every_loop_is_taken(depth):
    words = ["scale=paper", "model=hyper_connections", f"depth={depth}"]
    assert training_config(tiny.composed(words)).model.whole_gradient
    if depth == "fixed":
        training_config(tiny.composed([*words, *LAST_4]))


def test_each_of_stacked_matrices_counts_alike():
    """Queries that are large and alike do not hide keys and values that are opposite."""
    one, other = tiny.model("transformer", layers=2).core.blocks
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        for block in (one, other):
            block.mix.qkv.weight[:16] *= 100
        other.mix.qkv.weight[16:] *= -1
    same, opposite = 5, 2  # q, out, gate, up and down; k and v
    found = similarity([one, other], 1).item()
    assert found == pytest.approx((same - opposite) / (same + opposite))


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


@pytest.mark.parametrize("norms", ["post", "pre", "sandwich", "branch"])
def test_norms_stand_where_they_are_asked_for_and_residuals_are_scaled(norms):
    model = tiny.model("transformer", norms=norms, layers=1)
    around = model.core.blocks[0].around_mix
    stands = {
        part: isinstance(getattr(around, part), Norm) for part in ("before", "branch", "after")
    }
    assert stands == {
        "before": norms != "post",
        "branch": norms == "branch",
        "after": norms in ("post", "sandwich"),
    }
    x = model.encode(tiny.batch())
    silent = tiny.model("transformer", norms=norms, layers=1, residual=0.0)
    found = silent.core(x)
    for part in (silent.core.blocks[0].around_mix, silent.core.blocks[0].around_mlp):
        x = part.after(x)
    assert torch.equal(found, x)  # nothing was added
