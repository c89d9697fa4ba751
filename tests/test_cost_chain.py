"""What a loop costs: the published figures, closed form against measurement to the last FLOP and
byte, and invariants.

Reference: B. Huang, "Loop-Model FLOPs and Memory in an Ablation Chain" (Husky's Log, Apr 2026),
B=T=32, D=256, K=6.
"""

import json
import runpy
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.utils.checkpoint import checkpoint

from eval.cost import chain_formula as closed
from eval.cost import chain_program as chain
from eval.cost import chain_report, measure
from eval.cost.chain_rows import ROWS, V1, V7, Sizes, Switches
from tests.marks import hostile

FLOPS = {
    "V2": "4038.198",
    "V3": "4428.334",
    "V4": "4298.310",
    "V4+stream": "4302.316",
}  # published, in 10^6
SAVED = {"V1": "66.094", "V2": "66.094", "V4": "69.000", "V4+stream": "2.156"}  # published, in MiB
TRACKED = {"V1": "451.850", "V2": "69.102"}  # published, in MiB
G = 2 * 32 * 256**2  # FLOPs of one product at the published sizes
MIB = 2**20
OTHERS = [
    Sizes(5, 3, 24, 2),
    Sizes(2, 5, 7, 4),
    Sizes(9, 2, 33, 3),
    Sizes(1, 1, 1, 1),
    Sizes(1, 4, 5, 1),
]
SMALL = Sizes(B=3, T=4, D=8, K=3)
TINY = Sizes(B=2, T=2, D=3, K=2)


@pytest.fixture(scope="module", autouse=True)
def _timed_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "REPEATS", 1)
        yield


@pytest.fixture(scope="module")
def found():
    """Every row, measured at the published sizes."""
    return {name: chain.measured(switches, Sizes())[0] for name, switches in ROWS.items()}


# ---- reference


@pytest.mark.parametrize("name", FLOPS)
def test_flops_are_the_published_ones(found, name):
    assert f"{found[name].total / 1e6:.3f}" == FLOPS[name]


@pytest.mark.parametrize("name", SAVED)
def test_saved_memory_is_the_published_one(found, name):
    assert f"{found[name].memory['saved'] / MIB:.3f}" == SAVED[name]


@pytest.mark.parametrize("name", TRACKED)
def test_tracked_peak_is_the_published_one(found, name):
    assert f"{found[name].peak / MIB:.3f}" == TRACKED[name]


def test_parts_are_the_published_ones():
    parts = closed.matrix_products(ROWS["V3"], Sizes())
    assert f"{parts['forward'] / 1e6:.3f}" == "1744.830"  # T (2K + 1) products
    assert f"{parts['jacobian'] / 1e6:.3f}" == "130.023"
    assert f"{(parts['head'] + parts['core']) / 1e6:.3f}" == "2550.137"
    assert f"{sum(parts.values()) / 1e6:.3f}" == "4424.991"
    assert f"{sum(closed.matrix_products(ROWS['V4'], Sizes()).values()) / 1e6:.3f}" == "4294.967"
    one = closed.matrix_products(ROWS["V5"], Sizes())
    assert [f"{one[k] / 1e6:.3f}" for k in ("head", "core")] == ["8.389", "71.303"]


def assert_agree(found: closed.Cost, expected: closed.Cost) -> None:
    assert (found.nfe, found.products, found.memory) == (
        expected.nfe,
        expected.products,
        expected.memory,
    )
    if torch.__version__.startswith("2.13."):
        assert found.total == expected.total
    else:  # which additions are done in place is the version's choice
        assert found.total == pytest.approx(expected.total, rel=1e-3)


@pytest.mark.parametrize("name", ROWS)
def test_closed_form_is_exact_at_the_published_sizes(found, name):
    assert_agree(found[name], closed.closed(ROWS[name], Sizes()))


@pytest.mark.parametrize("sizes", [OTHERS[0], *map(hostile, OTHERS[1:])], ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_closed_form_is_exact_at_other_sizes(name, sizes):
    assert_agree(chain.measured(ROWS[name], sizes)[0], closed.closed(ROWS[name], sizes))


def combinations() -> list[Switches]:
    """Every combination of switches that makes sense."""
    names, possible = [field.name for field in fields(Switches)], []
    for on in product((False, True), repeat=len(names)):
        try:
            possible.append(Switches(**dict(zip(names, on, strict=True))))
        except ValueError:
            continue
    return possible


@pytest.mark.parametrize("sizes", [TINY, hostile(replace(TINY, K=1))], ids=str)
def test_closed_form_is_exact_for_every_combination_of_switches(sizes):
    assert len(combinations()) == 36
    for switches in combinations():
        assert_agree(chain.measured(switches, sizes)[0], closed.closed(switches, sizes))


@pytest.mark.parametrize(
    "wrong", [{"detach": True}, {"last_only": True}, {"every_loss": True, "stream": True}]
)
def test_switches_that_would_leave_weights_without_gradient_are_refused(wrong):
    with pytest.raises(ValueError, match=r"every_loss|detach"):
        replace(ROWS["V2"], **wrong)


def test_closed_form_needs_no_torch():
    code = "import sys, eval.cost.chain_formula; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False
        ).returncode
        == 0
    )


# ---- invariants: costs


def test_published_differences_between_rows(found):
    flops = {name: cost.total for name, cost in found.items()}
    assert flops["V3"] - flops["V4"] == 31 * G  # the gradient from step to step
    assert 32 * flops["V5"] == flops["V4+stream"]
    assert found["V3+ckpt"].nfe == found["V3"].nfe == 192
    assert found["V7"].nfe == found["V5"].nfe == 6


def test_a_rollout_of_instant_updates_costs_what_streaming_does():
    instant, stream = (chain.Program(ROWS[name], SMALL) for name in ("V5", "V4+stream"))
    assert measure.flops(instant.rollout) == measure.flops(stream.rollout)
    assert measure.saved_peak(instant.rollout) == measure.saved_peak(stream.rollout)


@pytest.mark.parametrize("name", ROWS)
def test_saved_memory_grows_with_the_rollout_only_where_a_backward_pass_waits_for_its_end(name):
    sizes = [
        measure.saved_peak(chain.Program(ROWS[name], replace(SMALL, T=T)).rollout)
        for T in (2, 3, 4, 7)
    ]
    growth = [(b - a) / steps for (a, b), steps in zip(pairwise(sizes), (1, 1, 3), strict=True)]
    assert len(set(growth)) == 1
    assert (growth[0] > 0) == (name not in ("V4+stream", "V5", "V6", "V7"))


def test_saved_memory_is_what_waits_at_one_time_each_save_counted():
    a = torch.ones(5, requires_grad=True)
    assert measure.saved_peak(lambda: a * a) == 2 * 5 * 4  # one tensor, saved for each factor
    assert measure.saved_peak(lambda: [(a * a).sum().backward() for _ in range(3)]) == 2 * 5 * 4


# ---- invariants: gradients, in float64


def gradients(name: str, sizes: Sizes = SMALL) -> dict[str, torch.Tensor]:
    """Of the first training interval, from the same weights and inputs for every row that shares
    its block.
    """
    program = chain.Program(ROWS[name], sizes, torch.float64)
    program.first_interval()
    return {name: p.grad for name, p in program.named_parameters()}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest relative difference of a tensor."""
    assert one.keys() == other.keys()
    return max(((one[k] - other[k]).norm() / other[k].norm()).item() for k in one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("V4", "V4+stream"), ("V3", "V3+ckpt"), ("V4", "V4+ckpt"), ("V6", "V7")],
    ids="=".join,
)
def test_rows_that_differ_in_cost_alone_have_the_same_gradient(one, other):
    assert distance(gradients(one), gradients(other)) < 1e-13


@pytest.mark.parametrize(("one", "other"), [("V2", "V3"), ("V3", "V4"), ("V5", "V6")], ids=" ".join)
def test_rows_that_differ_in_what_they_learn_have_another_gradient(one, other):
    assert distance(gradients(one), gradients(other)) > 1e-2


def test_gradients_of_equal_blocks_sum_to_that_of_the_shared_one():
    shared, untied = (chain.Program(ROWS[name], SMALL, torch.float64) for name in ("V2", "V1"))
    for cell in untied.cells:
        cell.load_state_dict(shared.cells[0].state_dict())
    untied.head.load_state_dict(shared.head.state_dict())
    untied.x, untied.y = shared.x, shared.y
    shared.first_interval()
    untied.first_interval()
    sums = {
        name: sum(getattr(cell, name).grad for cell in untied.cells) for name in ("Wh", "Wx", "b")
    }
    assert len(untied.cells) == SMALL.T * SMALL.K
    assert distance(sums, {name: p.grad for name, p in shared.cells[0].named_parameters()}) < 1e-13
    assert torch.equal(untied.head.weight.grad, shared.head.weight.grad)


def test_full_gradient_is_that_of_a_loop_written_by_hand():
    program = chain.Program(ROWS["V3"], SMALL, torch.float64)
    cell, head = program.cells[0], program.head
    h, loss = torch.zeros(SMALL.B, SMALL.D, dtype=torch.float64), 0
    for x, y in zip(program.x, program.y, strict=True):
        for _ in range(SMALL.K):
            h = torch.tanh(torch.cat([h, x], 1) @ torch.cat([cell.Wh, cell.Wx], 1).T + cell.b)
        loss = loss + mse_loss(head(h), y)
    names, parameters = zip(*program.named_parameters(), strict=True)
    expected = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    assert distance(gradients("V3"), expected) < 1e-13


@torch.no_grad()
def test_truncated_gradient_is_that_of_the_last_refinement_alone():
    program = chain.Program(ROWS["V6"], SMALL, torch.float64)
    cell, head, x, y = program.cells[0], program.head, program.x[0], program.y[0]
    before = chain.refine([cell] * (SMALL.K - 1), program.start(), x)
    after = cell(before, x)
    error = 2 * (head(after) - y) / y.numel()  # of the mean squared error, by hand
    inner = (error @ head.weight) * (1 - after**2)
    expected = {
        "cells.0.Wh": inner.T @ before,
        "cells.0.Wx": inner.T @ x,
        "cells.0.b": inner.sum(0),
    }
    expected |= {"head.weight": error.T @ after, "head.bias": error.sum(0)}
    with torch.enable_grad():
        assert distance(gradients("V6"), expected) < 1e-13


def test_every_update_moves_the_weights():
    for name, updates in (("V4", 1), ("V4+stream", 1), ("V5", SMALL.T)):
        program = chain.Program(ROWS[name], SMALL)
        before = program.cells[0].Wh.clone()
        program.rollout()
        assert program.optimizer.state[program.cells[0].Wh]["step"] == updates
        assert not torch.equal(before, program.cells[0].Wh)


@pytest.mark.parametrize("name", ["V4", "V4+stream", "V5"])
def test_an_interval_begins_without_gradients(name):
    program = chain.Program(ROWS[name], SMALL)
    program.optimizer.param_groups[0]["lr"] = 0.0
    program.first_interval()
    first = program.cells[0].Wh.grad.clone()
    program.first_interval()
    assert torch.equal(first, program.cells[0].Wh.grad)


def test_reentrant_checkpointing_would_drop_the_gradient(monkeypatch):
    """The trap: neither state nor input needs a gradient, so the reentrant kind gives the cell
    none.
    """

    def reentrant(*args, use_reentrant: bool):
        assert not use_reentrant
        return checkpoint(*args, use_reentrant=True)

    assert all(gradient is not None for gradient in gradients("V7").values())
    monkeypatch.setattr(chain, "checkpoint", reentrant)
    for name in ("V3+ckpt", "V4+ckpt", "V7"):
        with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
            found = gradients(name)
        assert [k for k, gradient in found.items() if gradient is None] == [
            "cells.0.Wh",
            "cells.0.Wx",
            "cells.0.b",
        ]
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        flops = measure.flops(chain.Program(V7, Sizes()).first_interval)
    assert (
        measure.matrix_products(flops) == 14 * G
    )  # less than the 19 of the row, where it should be more than 17


# ---- the command


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Runs `python -m eval.cost` in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["eval.cost", *words])
        try:
            runpy.run_module("eval.cost", run_name="__main__")
            code = 0
        except SystemExit as left:
            code = left.code
        return code, *capfd.readouterr()

    return run


def test_table_and_json(call, tmp_path):
    code, out, err = call("chain", "B=2", "T=3", "D=4", "K=2", "rows=V5,V1", "json=out.json")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| V1", "3 of 3 steps", "6"],
        ["| V5", "1 of 3 steps", "2"],
    ]
    assert "agree to the last FLOP and byte" in out
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["sizes"] == {"B": 2, "T": 3, "D": 4, "K": 2}
    row, cost = written["rows"]["V1"], closed.closed(V1, Sizes(2, 3, 4, 2))
    assert row["closed"] == cost.as_dict()
    assert (
        row["closed"]["total"]
        == sum(row["closed"]["flops"].values())
        == sum(row["measured"]["flops"].values())
    )
    assert row["measured"]["peak"] == sum(row["measured"]["memory"].values()) == cost.peak
    assert row["seconds"] > 0


def test_a_line_of_the_table_in_its_units(found):
    figures = ("192", "4038.066", "66.094", "96.438", "96.438", "192.879", "451.850")
    # measured, and by the closed form
    twice = " | ".join(f"{figure} | {figure}" for figure in figures)
    line = chain_report.line("V1", "32 of 32 steps", found["V1"], closed.closed(V1, Sizes()), 0.25)
    assert line == f"| V1 | 32 of 32 steps | {twice} | 250.0 |"


def test_a_closed_form_that_is_wrong_is_named(call, monkeypatch):
    monkeypatch.setattr(
        chain_report,
        "closed",
        lambda switches, sizes: closed.closed(switches, replace(sizes, K=sizes.K + 1)),
    )
    code, out, _ = call("chain", "B=1", "T=1", "D=2", "K=1", "rows=V6")
    assert code == 0
    assert "differ in V6." in out


WRONG = [
    ((), ("no report", "eval.cost chain")),
    (("chains",), ("chains", "eval.cost chain")),
    (("chain", "B=0"), ("B=0", "B=32")),
    (("chain", "T=-1"), ("T=-1", "whole number from 1")),
    (("chain", "D=1.5"), ("D=1.5", "whole number from 1")),
    (("chain", "K=six"), ("K=six", "K=6")),
    (("chain", "K="), ("K=", "K=6")),
    (("chain", "K=1", "K=2"), ("K=", "twice")),
    (("chain", "L=3"), ("L=3", "K=6")),
    (("chain", "V4"), ("V4", "rows=")),
    (("chain", "rows=V4,V9"), ("V9", "V4+stream")),
    (("chain", "rows="), ("rows=", "V4+stream")),
    (("chain", "json=none/such.json"), ("none/such.json", "mkdir -p none")),
    (("chain", "json=."), ("json=.", "name of a file")),
    (("chain", "json="), ("json=", "name of a file")),
    (("chain", "D=" + "9" * 30), ("V1 takes about", "GiB", "smaller")),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda x: " ".join(x)[:40])
def test_what_cannot_be_done_is_said_in_one_line(call, monkeypatch, tmp_path, words, said):
    monkeypatch.setattr(chain_report, "available_memory", lambda: 2**40)
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    for word in said:
        assert word in err
    assert not list(tmp_path.iterdir())


def test_only_rows_that_were_asked_for_need_to_fit(call, monkeypatch):
    monkeypatch.setattr(chain_report, "available_memory", lambda: 10 * MIB)
    words = ("chain", "B=2", "T=9", "D=8", "K=2")
    assert call(*words)[0] == 2
    assert call(*words, "rows=V6")[0] == 0
    # a system that does not say
    monkeypatch.setattr(chain_report, "available_memory", lambda: None)
    assert call(*words, "rows=V4")[0] == 0


def test_available_memory_is_a_number_where_the_system_says():
    free = measure.available_memory()
    assert free is None or MIB < free < 2**50
