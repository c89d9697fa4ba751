"""What a model costs: published figures, closed form, counting, measurement, the plan, bad words.

Reference figures: 10^9 FLOPs of matrix products for one puzzle and one segment, forward and
backward, at the published sizes of HRM (arXiv 2506.21734) and TRM (arXiv 2510.04871).
"""

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import train
from data.registry import make_task
from eval.cost import model_counted as counted
from eval.cost import model_formula as shapes
from eval.cost import model_measured as models
from eval.cost import model_plan as plan
from eval.cost import model_report
from eval.cost import report as words
from eval.speed import random_trainer
from tests import tiny
from tests.marks import cross, hostile
from tinyreason.errors import UserError
from tinyreason.models import DTYPES, dtype_of
from tinyreason.trainer import Trainer

ROOT = Path(__file__).parents[1]
PAPER = {
    ("task=sudoku", "model=trm"): "42.7",
    ("task=sudoku", "model=trm", "model.mix=attention", "model.positions=rotary"): "47.6",
    ("task=sudoku", "model=hrm"): "36.7",  # with its look-ahead
    ("task=maze", "model=trm"): "398",
}
SMALL = (
    "task=sudoku",
    "scale=small",
    "depth=fixed",
    "task.side=4",
    "batch=3",
    "compile=false",
    "model.width=16",
    "model.heads=2",
)
ATTENTION = ("model.mix=attention", "model.positions=rotary")
VARIANTS = {
    "mixer": ("model=trm",),
    "attention": ("model=trm", *ATTENTION),
    "without positions": ("model=trm", "model.mix=attention"),
    "grid": ("model=trm", "model.positions=grid", "model.prefix=2", "model.puzzle_embedding=true"),
    "learned": ("model=trm", "model.positions=learned", "gradient=one_step"),
    "bptt": ("model=trm", "gradient=bptt", *ATTENTION),
    "three": (
        "model=trm",
        "gradient=last",
        "gradient.recursions=3",
        "model.L_cycles=3",
        "model.layers=1",
    ),
    "hrm": ("model=hrm", *ATTENTION),
    "hrm mixer": ("model=hrm", "gradient=full", "loss=softmax"),
    "single z": ("model=trm", "model.name=single_z", "gradient=bptt"),
    "fixed": ("model=trm", "halting=fixed"),
    "q-learning": ("model=trm", "halting=q_learning", *ATTENTION),
    "bfloat16": ("model=trm", "model.dtype=bfloat16", *ATTENTION),
    "bfloat16 mixer": ("model=hrm", "model.dtype=bfloat16"),
}


def trainer_of(*more: str) -> tuple[Trainer, models.SegmentCost]:
    """And what the closed form says of it."""
    config = tiny.config(*SMALL, *more)
    torch.manual_seed(0)
    trainer = random_trainer(config)
    facts = trainer.feed.facts
    one = models.estimate(config, facts, trainer.model.encoder.dtype)
    assert one.how == "closed form"
    return trainer, models.predicted(config, facts, one)


# ---- reference


@pytest.mark.parametrize("words", PAPER)
def test_flops_at_the_published_sizes(words):
    config = tiny.config(*words, "scale=paper")
    one = models.estimate(config, make_task(config.task).facts, DTYPES["bfloat16"])
    assert one.how == "closed form"
    digits = len(PAPER[words].partition(".")[2])
    assert f"{sum(one.flops.values()) / 1e9:.{digits}f}" == PAPER[words]


# ---- closed form, measurement and counting


@pytest.mark.parametrize(("name", "recompute"), cross(list(VARIANTS), ["false", "true"]))
def test_flops_are_those_of_the_closed_form(name, recompute):
    more = (*VARIANTS[name], f"model.recompute={recompute}")
    trainer, expected = trainer_of(*more)
    assert models.products(trainer) == (expected.forward, expected.backward)


@pytest.mark.parametrize(("name", "recompute"), cross(list(VARIANTS), ["false", "true"]))
def test_kept_memory_is_that_of_the_closed_form(name, recompute):
    """But for some numbers of the losses and what is looked up by: under 100 bytes a slot."""
    more = (*VARIANTS[name], f"model.recompute={recompute}")
    trainer, expected = trainer_of(*more)
    assert models.kept(trainer) == pytest.approx(expected.kept, abs=100 * trainer.batch + 400)


@pytest.mark.parametrize("more", [(), ("ema=null",), ("optim=muon",), ("model=hrm", "optim=muon")])
def test_the_parameters_side_is_that_of_the_closed_form(more):
    trainer, expected = trainer_of(*more)
    trainer.step()
    found = models.side(trainer) + sum(p.nbytes for p in trainer.model.parameters())
    assert found == pytest.approx(expected.side, rel=0.02)  # optimizers count steps


@pytest.mark.parametrize("name", ["mixer", "attention", "bptt", "hrm", "single z"])
def test_the_peak_is_near_the_closed_form(name):
    more = (*VARIANTS[name], "batch=32", "model.width=32")
    trainer, expected = trainer_of(*more)
    assert models.measured(trainer).peak == pytest.approx(expected.peak, rel=0.2)


COUNTED = {
    "trm": ("model=trm",),
    "trm attention": ("model=trm", *ATTENTION),
    "hrm": ("model=hrm", *ATTENTION),
    "hrm uneven": ("model=hrm", "model.H_layers=3", "model.L_layers=1", "gradient=full"),
    "hrm uneven, slow": ("model=hrm", "model.H_layers=2", "gradient=bptt"),
    "single z": ("model=trm", "model.name=single_z"),
    "single z attention": ("model=trm", "model.name=single_z", "gradient=bptt", *ATTENTION),
}


@pytest.mark.parametrize(
    ("name", "dtype", "recompute"),
    [
        hostile(name, *more, when=(name, more[1]) not in (("trm", "false"), ("hrm uneven", "true")))
        for name in COUNTED
        for more in (("float32", "false"), ("bfloat16", "true"))
    ],
)
def test_counting_says_what_the_closed_form_says(name, dtype, recompute):
    """Counting also sees the labels and what is looked up by, about 170 bytes a puzzle."""
    more = (f"model.dtype={dtype}", f"model.recompute={recompute}")
    config = tiny.config("task=sudoku", "scale=paper", *COUNTED[name], *more)
    facts = make_task(config.task).facts
    number = dtype_of(config.model, tiny.CPU)
    closed, found = (f(config, facts, number) for f in (shapes.closed, counted.counted))
    for batch in (1, 3):
        ours, theirs = closed.flops_of(batch), found.flops_of(batch)
        for backward in (True, False):
            a, b = (
                sum(n for part, n in flops.items() if (part in one.backward) == backward)
                for one, flops in ((closed, ours), (found, theirs))
            )
            assert a == b
    assert found.kept == pytest.approx(closed.kept, rel=1e-3)
    assert found.kept_again == pytest.approx(closed.kept_again, rel=1e-3)
    assert found.casts == pytest.approx(closed.casts, rel=1e-3)
    assert found.slot == closed.slot


def test_fused_attention_counts_as_nothing_on_a_cpu():
    """The trap that `products` avoids. When torch counts it, its plain products can go."""
    trainer, _ = trainer_of("model=trm", *ATTENTION)
    with FlopCounterMode(display=False) as counter:
        models.forward(trainer)
    assert counter.get_total_flops() < models.products(trainer)[0]


# ---- computing a recursion again


@pytest.mark.parametrize(
    ("name", "gradient"),
    cross(
        ["mixer", "attention", "hrm", "single z"],
        ["bptt", "one_step", "full", "3", "phantom", "implicit"],
    ),
)
def test_recomputing_does_not_change_the_gradient(name, gradient):
    found, scheme = [], (f"gradient={gradient}",)
    if gradient == "3":
        scheme = ("gradient=last", "gradient.recursions=3")
    for recompute in ("false", "true"):
        words = (*VARIANTS[name], *scheme, f"model.recompute={recompute}")
        torch.manual_seed(0)
        trainer = random_trainer(tiny.config(*SMALL, *words))
        for _ in range(3):
            trainer.step()
        models.forward(trainer).backward()
        found.append([p.grad for p in trainer.model.parameters()])
    assert all(g is not None and g.any() for g in found[0] if g is not None)
    for plain, again in zip(*found, strict=True):
        assert (plain is None) == (again is None)
        assert plain is None or torch.equal(plain, again)


def test_recomputing_takes_less_memory():
    more = ("model=trm", "gradient=bptt", "batch=64", "model.width=64")
    plain, again = (
        models.measured(trainer_of(*more, f"model.recompute={c}")[0]) for c in ("false", "true")
    )
    assert again.peak < plain.peak / 2
    assert again.kept < plain.kept / 10
    assert again.backward > plain.backward


# ---- the plan


def test_the_plan_is_arithmetic():
    config = tiny.config("task=sudoku", "model=trm", "scale=paper")
    row = plan.planned(config, speed=0.4 * 989.4e12, memory=72 * 10**9)
    assert row["each"] == pytest.approx(42.7e9, rel=1e-3)
    assert row["hours"] == pytest.approx(42.7e9 * 65104 * 768 / (0.4 * 989.4e12) / 3600, rel=1e-3)
    fits, over = (
        plan.planned(replace(config, batch=row["largest_batch"] + more), 1.0, 72 * 10**9)[
            "memory"
        ].values()
        for more in (0, 1)
    )
    assert sum(fits) <= 72e9 < sum(over)
    assert plan.planned(config, 1.0, 10**6)["largest_batch"] == 0


def test_the_largest_batch_grows_as_less_is_kept():
    config = tiny.config("task=maze", "model=trm", "scale=paper")
    sizes = [
        plan.planned(
            models.with_scheme(config, model_report.scheme_of(gradient), recompute), 1.0, 72 * 10**9
        )["largest_batch"]
        for gradient, recompute in (
            ("bptt", False),
            ("full", False),
            ("full", True),
            ("one_step", True),
        )
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


# ---- the command


def test_the_report_of_a_model_and_of_its_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="the viz extra is not installed")
    monkeypatch.chdir(tmp_path)
    small = ["task=sudoku", "scale=small", "task.side=4", "model.width=16", "model.heads=2"]
    sizes = (
        "task.train_puzzles=4",
        "task.valid_puzzles=0",
        "task.test_puzzles=2",
        "batch=2",
        "steps=4",
        "log_every=2",
    )
    train.train(replace(tiny.config(*small, *sizes), name="one"))
    model_report.models(
        [*small, "gradients=one_step,2", "slots=2", "repeats=1", "runs=runs/one", "out=cost"]
    )
    table = capsys.readouterr().out
    assert "| one_step | no | 1 |" in table
    assert "| last 2 | yes | 2 |" in table
    report = json.loads(Path("cost/models.json").read_text())
    assert [row["tracked"] for row in report["rows"]] == [1, 1, 2, 2]
    assert all(row["measured"]["forward"] == row["closed"]["forward"] for row in report["rows"])
    config = tiny.config(*small)
    one = models.estimate(config, make_task(config.task).facts, torch.float32)
    each = sum(one.flops.values())
    assert report["curves"]["one"]["flops"] == [each * 2 * 2, each * 2 * 4]
    for name in ("models.png", "losses.png"):
        assert Path("cost", name).read_bytes()[1:4] == b"PNG"
    assert "| one_step | no |" in Path("cost/models.md").read_text()


def test_the_report_of_a_plan(tmp_path, capsys):
    path = tmp_path / "plan.json"
    plan.plan(
        [
            "model=trm",
            "task=sudoku",
            "scale=paper",
            "device=h100",
            "utilisation=0.4",
            f"json={path}",
        ]
    )
    out = capsys.readouterr().out
    assert "65,104 steps of 768 slots: 50.0 million segments" in out
    assert "| full | no | 42.7" in out
    assert json.loads(path.read_text())["utilisation"] == 0.4


BAD = [
    (["plan", "device=h1000"], " one of h200, h100"),
    (["plan", "utilisation=0"], "utilisation=0 must be above 0 and up to 1; "),
    (["plan", "utilisation=40%"], "utilisation=40% must be"),
    (["plan", "utilisation"], "utilisation is no option here"),
    (["plan", "json=nowhere/x.json"], "json=nowhere/x.json: there is no folder nowhere"),
    (["model=trm", "slots=0"], "slots=0 is not a size"),
    (["model=trm", "repeats=-1"], "repeats=-1 is not a size"),
    (["model=trm", "gradients=some"], "gradient=some is unknown"),
    (["model=trm", "gradients=full,full"], "names one twice"),
    (["model=trm", "gradients=99"], "gradients=99: use a number of recursions from 1 to 4"),
    (["model=trm", "gradients=0"], "gradient.recursions=0 must be 1 or more"),
    (["model=trm", "runs=runs/none"], "runs/none is not a run"),
    (["model=trm", "batch=0"], "batch=0 must be 1 or more"),
    (["model=trn"], "Could not find 'model/trn'"),
    (["model=trm", "model.widht=3"], "Could not override 'model.widht'"),
    (["model=trm", "slots=2", "slots=3"], "slots= is given twice"),
    (["plan", "model.recompute=true"], "model.recompute=true is a row of the table already"),
    (["model=trm", "gradient=bptt"], "gradient=bptt is a row of the table already"),
    (["plan", "gradient=last", "gradients=2", "gradient.damping=1"], "'gradient.damping'"),
    (["model=trm", "gradients=one_step,1"], "names one twice"),
    (["plan", "utilization=0.4"], "`python train.py --cfg job` prints all keys"),
    (["plan", "--cfg", "job"], "--cfg is no option here"),
    (["B=2", "chain"], "chain is no option here"),
    (["plan", "out="], "out= cannot be written"),
    (["plan", "out=/dev/null/x"], "out=/dev/null/x cannot be written"),
    (["plant"], "there is no report plant; "),
    ([], "there is no report without words; "),
]


@pytest.mark.parametrize(
    ("typed", "line"), BAD, ids=[" ".join(typed) or "nothing" for typed, _ in BAD]
)
def test_bad_words_get_one_line(typed, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["eval/cost/__main__.py", *typed])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("eval.cost", run_name="__main__")
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert line in said
    assert said.count("\n") == 1


@pytest.mark.hostile
def test_the_command_as_a_user_types_it():
    words_ = [
        "model=trm",
        "task=sudoku",
        "scale=small",
        "task.side=4",
        "gradients=one_step",
        "slots=1",
        "repeats=1",
    ]
    found = subprocess.run(
        [sys.executable, "-m", "eval.cost", *words_],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    assert "| one_step | yes | 1 |" in found.stdout


def test_what_does_not_fit_is_said_and_not_measured(monkeypatch, capsys):
    small = ["model=trm", "scale=small", "task.side=4", "model.width=16"]
    config = tiny.config(*small, "batch=16", "gradient=bptt")
    facts = make_task(config.task).facts
    peak = models.predicted(config, facts, models.estimate(config, facts, torch.float32)).peak
    monkeypatch.setattr(models.memory, "free", lambda device: peak)
    model_report.models([*small, "gradients=one_step,bptt", "repeats=1", "slots=16"])
    rows = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| one") or line.startswith("| bptt")
    ]
    assert ["does not fit" in row for row in rows] == [False, False, True, False]


def test_the_plan_says_what_does_not_fit(capsys):
    plan.plan(["model=trm", "scale=paper", "device=H100", "gradients=bptt", "model.dtype=float32"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| bptt")]
    assert ["does not fit" in row for row in rows] == [True, False]
    plain, parts = (
        plan.planned(tiny.config("model=trm", "scale=paper", *more), 1.0, 72e9)
        for more in ((), ("micro_batch=96",))
    )
    assert (
        parts["memory"]["kept, recomputed or copied"]
        < plain["memory"]["kept, recomputed or copied"] / 7
    )
    assert parts["hours"] == plain["hours"]


def test_help_is_the_three_commands(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["eval/cost/__main__.py", "--help"])
    runpy.run_module("eval.cost", run_name="__main__")
    assert capsys.readouterr().out.count("python -m eval.cost") == 3


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the name of a folder"):
        words.folder(str(tmp_path / "file"))
