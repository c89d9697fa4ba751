"""The plan of a run on any card, and on this machine."""

import json
from dataclasses import replace

import pytest
import torch

from data.registry import facts_of
from eval import begin
from eval.cost import fit, here
from eval.cost import model_plan as plan
from eval.cost.cards import CARDS, card_of
from eval.cost.here import Measured
from tests import tiny
from tinyreason.errors import UserError

PAPER = ["model=trm", "task=sudoku", "scale=paper"]
SMALL = ["model=trm", "task=sudoku", "scale=small", "task.side=4", "model.width=16", "batch=4"]

PRINTED = {  # in NVIDIA's white papers: bfloat16, float32 sums, dense
    "rtx3090": 71,
    "rtx3080": 59.5,
    "rtx3070": 40.6,
    "rtx4090": 165.2,
    "rtx4080": 97.5,
    "rtx5090": 209.5,
    "rtx5080": 112.6,
    "rtx5070ti": 87.9,
    "rtx5070": 61.7,
}


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("h100", "h100"),
        ("H100-80GB", "h100"),
        ("A100 40GB", "a100-40gb"),
        ("A100", "a100"),
        ("4060ti", "rtx4060ti"),
        ("NVIDIA GeForce RTX 4060 Ti", "rtx4060ti"),
        ("rtx-5090", "rtx5090"),
        ("3060", "rtx3060"),
        ("RTX 4060 Laptop GPU", "rtx4060-laptop"),
        ("T4", "t4"),
    ],
)
def test_a_card_by_any_way_to_write_it(typed, known):
    assert card_of(typed, None, None) == CARDS[known]


@pytest.mark.parametrize(("name", "tflops"), PRINTED.items())
def test_rates_of_geforce_cards_are_those_of_the_white_papers(name, tflops):
    assert CARDS[name].tflops == pytest.approx(tflops, rel=4e-3)


def test_own_figures_win_and_need_no_name():
    assert card_of("4060ti", None, "16") == CARDS["rtx4060ti"]._replace(memory=16)
    own = card_of(None, "30", "12.5")
    assert own == (30, 12.5, None, "bfloat16")
    assert card_of(None, None, None) == CARDS["h100"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["device=m2"], "device=m2: Apple states no rate"),
        (["device=M3 Max"], "use device=here on that machine, or tflops= and memory="),
        (["device=rtx9999"], "device=rtx9999 is unknown; use one of h200"),
        (["tflops=30"], "tflops= alone; use tflops= and memory="),
        (["device=t4", "memory=0"], "memory=0 must be a number above 0; use memory=12"),
        (["device=here", "tflops=30"], "leave it out with device=here"),
        (["device=here", "gradients=full"], "leave it out with device=here"),
    ],
)
def test_what_cannot_be_planned_is_one_line(words, said):
    with pytest.raises(UserError) as raised:
        plan.plan([*PAPER, *words])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_plan_says_what_would_go_at_once(capsys):
    plan.plan([*PAPER, "device=4060ti"])
    said = capsys.readouterr().out
    assert "4060ti: 44.1 TFLOP/s in dense bfloat16" in said
    assert "micro_batch=auto would take 192 of 768 slots at once, without recomputing" in said
    plan.plan(["model=trm", "task=maze", "scale=paper", "device=4060ti"])
    assert "slots at once, with recomputing" in capsys.readouterr().out


def test_a_card_without_fast_bfloat16_is_planned_in_float32(capsys):
    plan.plan([*PAPER, "device=t4"])
    assert "t4: 8.1 TFLOP/s in dense float32" in capsys.readouterr().out
    config = tiny.config(*PAPER)
    halves, wholes = (
        plan.planned(config, 1e12, 16 * 10**9, name) for name in ("bfloat16", "float32")
    )
    kept = "kept, recomputed or copied"
    assert wholes["memory"][kept] > 1.8 * halves["memory"][kept]


def test_here_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(here, "SECONDS", 0)
    path = tmp_path / "here.json"
    plan.plan([*SMALL, "device=here", "steps=100", f"json={path}"])
    said = capsys.readouterr().out
    assert "s a step" in said
    assert "hours for 100 steps of 4 slots" in said
    found = json.loads(path.read_text())
    assert found["slots"] == 4
    assert found["steps"] == here.LEAST
    assert found["fastest"] <= found["step"] <= found["slowest"]
    assert found["hours"] == pytest.approx(100 * found["step"] / 3600)


def test_here_is_timed_with_the_number_type_and_threads_of_a_run(monkeypatch):
    threads = []
    monkeypatch.setattr(begin, "fast_cpu_type", lambda *sizes: torch.bfloat16)
    monkeypatch.setattr(begin, "settle_threads", lambda *of: threads.append(of[3]))
    monkeypatch.setattr(here, "pick_device", lambda name: tiny.CPU)
    found = here.measured(tiny.config(*SMALL), seconds=0)
    assert found.device == "this CPU, bfloat16"
    assert threads == [torch.bfloat16]


def test_the_largest_batch_is_what_auto_takes_at_once():
    config, memory = tiny.config(*PAPER), 80e9
    row = plan.planned(config, 1e12, int(memory * fit.SURE))
    largest, facts = row["largest_batch"], facts_of(config.task)
    for batch, fits in ((largest, True), (largest + 1, False)):
        more = replace(config, batch=batch)
        taken = fit.most_slots(more, facts, torch.bfloat16, int(memory))
        assert (taken.slots == batch) is fits
        assert plan.planned(more, 1e12, int(memory * fit.SURE))["fits"] is fits


def test_long_steps_are_timed_on_some_of_their_slots(monkeypatch):
    monkeypatch.setattr(here, "LONG", 1e-9)
    config = tiny.config(*SMALL, "batch=64", "device=cpu")
    found = here.measured(config, seconds=0)
    assert found.slots == here.FIRST
    assert "3 timed on 2 of its slots" in here.told(found, config)


def test_what_was_measured_is_multiplied():
    config = tiny.config(*PAPER)
    found = Measured("card", 768, 9, step=0.5, fastest=0.4, slowest=0.6, peak=2**31)
    said = here.told(found, config)
    assert "0.5 s a step (0.4 to 0.6, 9 timed), 1,536 segments/s" in said
    assert "9.04 hours for 65,104 steps of 768 slots" in said
    assert "2.00 GiB" in said
