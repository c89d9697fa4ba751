"""Networks: reference (published sizes, initialisation, positions), determinism, invariants."""

import math
from dataclasses import replace

import pytest
import torch

from tests import tiny
from tinyreason.depth import stated
from tinyreason.encoder import GridPositions, Learned
from tinyreason.errors import UserError
from tinyreason.functions import rms_norm
from tinyreason.gradient import make_gradient
from tinyreason.layers import Rotary, truncated_normal
from tinyreason.models import Read, make_model, parameter_count
from tinyreason.noise import NoNoise
from tinyreason.puzzle import Batch, Facts
from tinyreason.recursion import Depth
from tinyreason.run.checkpoint import digest

META = torch.device("meta")
SUDOKU = Facts(vocab_size=11, grid=(9, 9), box=(3, 3))
MAZE = Facts(vocab_size=6, grid=(30, 30))
ARC = Facts(vocab_size=12, grid=(30, 30), num_puzzle_identifiers=1000)
DEPTH = Depth(4, 2)


def same_tokens(token: int = 1) -> Batch:
    """Two puzzles whose cells are all alike, so that only positions tell them apart."""
    full = torch.full((2, 16), token, dtype=torch.int32)
    return Batch(full, full.long(), torch.zeros(2, dtype=torch.int32))


# ---- reference


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        (("model=trm",), (6_828_034, 6_822_914, 6_829_058)),
        (
            ("model=trm", "model.mix=mixer", "model.positions=none"),
            (5_028_866, 18_795_522, 18_801_666),
        ),
        (("model=hrm",), (27_275_266, 27_270_146, 27_276_290)),
    ],
    ids=["trm-attention", "trm-mixer", "hrm"],
)
def test_published_parameter_counts(words, counts):
    attention = () if len(words) > 1 else ("model.mix=attention", "model.positions=rotary")
    config = tiny.config("scale=paper", *words, *attention).model
    for facts, count in zip((SUDOKU, MAZE, ARC), counts, strict=True):
        with META:
            assert parameter_count(make_model(config, facts, META)) == count


def test_the_published_depths():
    for name, depth in (("trm", Depth(18, 6)), ("hrm", Depth(4, 1))):
        config = tiny.config("scale=paper", f"model={name}", "task=sudoku")
        gradient = make_gradient(config.gradient, config.model.cycle)
        assert stated(config.model.recursions, gradient) == depth


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_truncated_normal_has_its_deviation_after_the_cut(std):
    """The uncut deviation is std / 0.8796, so that two of them are 2.2737 std."""
    torch.manual_seed(0)
    x = truncated_normal((400, 500), std).double() / std
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01
    assert 2.2 < x.abs().max() <= 2.2737
    # share within one uncut deviation: (Phi(1) - Phi(-1)) / (Phi(2) - Phi(-2))
    within = (x.abs() < 2.27370 / 2).double().mean()
    assert abs(within - math.erf(2**-0.5) / math.erf(2**0.5)) < 0.005


def test_initialisation():
    model = tiny.model(width=128, heads=4, inner_multiple=64, expansion=4)
    deviations = {
        "encoder.tokens": 128**-0.5,
        "core.blocks.0.mix.qkv.weight": 128**-0.5,
        "core.blocks.0.mix.out.weight": 128**-0.5,
        "core.blocks.0.mlp.gate_up.weight": 128**-0.5,
        "core.blocks.0.mlp.down.weight": 384
        ** -0.5,  # 4 * 128 * 2 / 3 = 341.3, up to a multiple of 64
        "heads.answer.weight": 128**-0.5,
    }
    parameters = dict(model.named_parameters())
    for name, std in deviations.items():
        weight = parameters.pop(name)
        assert weight.std().item() == pytest.approx(std, rel=0.06), name
        assert weight.abs().max() <= 2.2738 * std, name
    assert torch.equal(parameters.pop("heads.halt.weight"), torch.zeros(2, 128))
    assert torch.equal(parameters.pop("heads.halt.bias"), torch.full((2,), -5.0))
    assert not parameters


def test_the_states_start_at_fixed_vectors_that_are_the_same_at_every_position():
    model = tiny.model(width=512, heads=2)
    start = model.start(torch.zeros(3, 18, 512), NoNoise())
    learned = dict(model.named_parameters())
    for name, z in start._asdict().items():
        vector = model.state_dict()[f"start_{name}"]  # a buffer: saved, not learned
        assert f"start_{name}" not in learned
        assert torch.equal(z, vector.expand(3, 18, 512))
        assert vector.std().item() == pytest.approx(1, rel=0.1)
    assert not torch.equal(start.z_H, start.z_L)


def test_norm_has_unit_mean_square_and_no_parameters():
    x = torch.randn(3, 5, 64) * 7
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(rms_norm(x, -1, 1e-5), expected)
    assert rms_norm(x.bfloat16(), -1, 1e-5).dtype == torch.bfloat16


def test_rotary_scores_depend_on_the_distance_alone():
    torch.manual_seed(0)
    rotary = Rotary(head_width=8, length=20)
    q, k = (torch.randn(8).expand(1, 1, 20, 8) for _ in range(2))
    scores = (rotary(q) @ rotary(k).mT)[0, 0]  # (20, 20)
    for distance in range(-19, 20):
        line = scores.diagonal(distance)
        torch.testing.assert_close(line, line[:1].expand_as(line), rtol=1e-4, atol=1e-4)
    assert scores[0].std() > 0.1
    assert torch.equal(rotary(q)[0, 0, 0], q[0, 0, 0])
    torch.testing.assert_close(rotary(q).norm(dim=-1), q.norm(dim=-1))


def test_rotary_turns_each_pair_by_its_frequency():
    rotary = Rotary(head_width=4, length=10)
    x = torch.randn(1, 1, 10, 4)
    position, turned = 7, rotary(x)[0, 0, 7]
    for i, frequency in enumerate((1.0, 0.01)):  # theta^0, theta^(-1/2)
        a, b, angle = x[0, 0, position, i], x[0, 0, position, i + 2], position * frequency
        expected = torch.stack(
            (a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle))
        )
        torch.testing.assert_close(turned[[i, i + 2]], expected)


def test_grid_positions_are_the_sum_of_row_column_and_box():
    facts = Facts(vocab_size=8, grid=(4, 6), box=(2, 3))
    positions = GridPositions(facts, width=8, prefix=2)
    rows, columns, boxes = positions.table.detach().split((4, 6, 4))
    placed = positions(torch.zeros(1, 26, 8)).detach()[0]
    assert not placed[:2].any()
    for r in range(4):
        for c in range(6):
            expected = rows[r] + columns[c] + boxes[r // 2 * 2 + c // 3]
            torch.testing.assert_close(placed[2 + 6 * r + c], expected)
    assert len({tuple(v.tolist()) for v in placed[2:]}) == 24


def test_grid_positions_without_boxes_are_the_sum_of_row_and_column():
    positions = GridPositions(Facts(vocab_size=6, grid=(3, 3)), width=8, prefix=0)
    placed = positions(torch.zeros(1, 9, 8)).detach().view(3, 3, 8)
    step = placed[:, 1:] - placed[:, :-1]  # from column to column, the same in each row
    torch.testing.assert_close(step, step[:1].expand_as(step))
    assert len(positions.table) == 6


def test_learned_positions_keep_the_variance():
    positions = Learned(length=50, width=64)
    with torch.no_grad():
        positions.table.normal_()
        x = positions(torch.randn(100, 50, 64))
    assert x.std().item() == pytest.approx(1, rel=0.02)


# ---- what encode makes of a batch


def test_the_encoder_scales_tokens_and_prefix_by_the_root_of_the_width():
    model, batch = tiny.model(width=16), tiny.batch()
    x = model.encode(batch).detach()
    assert x.shape == (4, 18, 16)
    assert not x[
        :, :2
    ].any()  # the puzzle embedding starts at zero, the other prefix tokens are registers
    torch.testing.assert_close(x[:, 2:], 4 * model.encoder.tokens.detach()[batch.inputs.long()])


def test_the_puzzle_embedding_is_the_first_prefix_token_of_its_puzzles_alone():
    model, batch = tiny.model(width=16), tiny.batch()
    model.encoder.puzzles.table[1] = torch.arange(16.0)
    x = model.encode(batch).detach()
    torch.testing.assert_close(x[1, 0], 4 * torch.arange(16.0))
    assert not x[1, 1].any()
    assert not x[[0, 2, 3], :2].any()  # identifiers 0, 2, 0


def test_the_puzzle_embedding_changes_the_answer_and_is_no_parameter():
    model = tiny.model()
    without = tiny.model(puzzle_embedding=False)
    assert parameter_count(model) == parameter_count(without)
    assert "encoder.puzzles.table" in model.state_dict()
    batch = tiny.batch()
    before, after = [], []
    for answers in (before, after):
        answers.append(tiny.read(model, batch, DEPTH).logits.detach())
        model.encoder.puzzles.table[1] = 3.0
    changed = (before[0] != after[0]).flatten(1).any(1)
    assert changed.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("positions", "sees"), [("rotary", False), ("none", False), ("learned", True), ("grid", True)]
)
def test_what_is_added_to_the_cells(positions, sees):
    """Rotary positions act inside attention alone."""
    model = tiny.model(positions=positions)
    x = model.encode(same_tokens()).detach()
    assert (x[:, 2:] != x[:, 2:3]).any() == sees


def test_attention_without_positions_cannot_tell_cells_apart_and_rotary_can():
    for positions, differs in (("none", False), ("rotary", True)):
        model = tiny.model(positions=positions)
        logits = tiny.read(model, same_tokens(), DEPTH).logits.detach()
        assert ((logits - logits[:, :1]).abs().max() > 1e-3) == differs


# ---- forward


@pytest.mark.parametrize("name", ["trm", "hrm", "single_z"])
@pytest.mark.parametrize("mix", ["attention", "mixer"])
def test_shapes(name, mix):
    model, batch = tiny.model(name, mix=mix, positions="none"), tiny.batch()
    state, (read,), _, penalties = tiny.segment(model, batch, DEPTH)
    assert penalties == {}
    assert all(z.shape == (4, 18, 16) for z in state)
    assert read.logits.shape == (4, 16, 6)
    assert read.halt.shape == (4, 2)
    assert read.halt.dtype == torch.float32
    assert torch.equal(read.halt, torch.full((4, 2), -5.0))  # as initialised
    assert torch.equal(read.answer, read.logits.argmax(-1))


def test_the_answer_is_read_off_the_first_latent_without_the_prefix():
    model, batch = tiny.model(), tiny.batch()
    with torch.no_grad():
        model.heads.halt.weight.normal_()
    state, (read,), *_ = tiny.segment(model, batch, DEPTH)
    torch.testing.assert_close(read.logits, (state.z_H @ model.heads.answer.weight.T)[:, 2:])
    torch.testing.assert_close(read.halt, state.z_H[:, 0] @ model.heads.halt.weight.T - 5)


@pytest.mark.parametrize("name", ["trm", "hrm", "single_z"])
def test_rows_of_a_batch_do_not_see_each_other(name):
    model, batch, other = tiny.model(name), tiny.batch(), tiny.batch(seed=1)
    mixed = batch.map(lambda a, b: torch.cat((a[:1], b[1:])), other)
    read, read_mixed = (tiny.read(model, b, DEPTH) for b in (batch, mixed))
    torch.testing.assert_close(read.logits[0], read_mixed.logits[0])
    assert (read.logits[1:] != read_mixed.logits[1:]).any()


@pytest.mark.parametrize("mix", ["attention", "mixer"])
def test_every_cell_sees_every_cell(mix):
    model, batch = tiny.model(mix=mix, positions="none"), tiny.batch(1)
    changed = batch.map(torch.clone)
    changed.inputs[0, 5] = changed.inputs[0, 5] % 5 + 1
    a, b = (tiny.read(model, x, DEPTH).logits.detach() for x in (batch, changed))
    assert ((a - b).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("name", ["trm", "hrm"])
def test_bf16_is_close_to_float32_and_its_weights_stay_float32(name):
    batch, reads = tiny.batch(8), {}
    for dtype in ("float32", "bfloat16"):
        model = tiny.model(name, dtype=dtype, width=64)
        state, (reads[dtype],), *_ = tiny.segment(model, batch, DEPTH)
        assert all(z.dtype == getattr(torch, dtype) for z in state)
        assert reads[dtype].halt.dtype == torch.float32
        (reads[dtype].logits.float().square().mean() + reads[dtype].halt.mean()).backward()
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())
    full, half = (reads[d].logits.detach().float() for d in ("float32", "bfloat16"))
    assert reads["bfloat16"].logits.dtype == torch.bfloat16
    assert 0 < (full - half).norm() / full.norm() < 0.05


def test_auto_is_float32_on_a_cpu():
    model = tiny.model(dtype="auto")
    assert model.encode(tiny.batch()).dtype == torch.float32


# ---- determinism


def test_a_seed_gives_the_same_weights_and_another_seed_others():
    assert digest(tiny.model()) == digest(tiny.model())
    assert digest(tiny.model()) != digest(tiny.model(seed=1))


def test_trm_has_one_network_and_hrm_two_of_the_same_size():
    trm, hrm = tiny.model(), tiny.model("hrm")
    shared = sum(p.numel() for p in trm.core.parameters())
    assert parameter_count(hrm) - parameter_count(trm) == shared
    uneven = tiny.model("hrm", layers=2, H_layers=3, L_layers=1)
    assert (len(uneven.core_H.blocks), len(uneven.core_L.blocks)) == (3, 1)
    half = tiny.model("hrm", layers=2, H_layers=3)
    assert (len(half.core_H.blocks), len(half.core_L.blocks)) == (3, 2)
    assert not torch.equal(next(hrm.core_H.parameters()), next(hrm.core_L.parameters()))


# ---- what is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "trn"}, ("model.name=trn", "trm", "hrm", "single_z")),
        ({"mix": "mlp"}, ("model.mix=mlp", "attention", "mixer")),
        ({"positions": "rope"}, ("model.positions=rope", "rotary", "learned", "grid", "none")),
        ({"dtype": "fp8"}, ("model.dtype=fp8", "auto", "bfloat16")),
        ({"heads": 3}, ("model.heads=3", "model.width=16")),
        ({"heads": 16}, ("model.heads=16",)),  # rotary needs an even head width
        ({"prefix": 0}, ("model.prefix",)),
    ],
)
def test_a_model_that_cannot_be_is_refused_in_one_line(changes, words):
    config = replace(tiny.model_config(), **changes)
    with pytest.raises(UserError) as caught:
        make_model(config, tiny.FACTS, tiny.CPU)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_without_prefix_and_embedding_the_first_cell_says_whether_to_halt():
    model = tiny.model(prefix=0, puzzle_embedding=False)
    state, (read,), *_ = tiny.segment(model, tiny.batch(), DEPTH)
    assert isinstance(read, Read)
    assert state.z_H.shape == (4, 16, 16)
    assert read.logits.shape == (4, 16, 6)
