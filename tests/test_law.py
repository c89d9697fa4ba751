"""Scaling laws: reference (synthetic losses whose law is known), invariants, what is refused."""

import csv
import json
import sys

import numpy as np
import pytest

import train
from conf.cli import one_line
from eval.law import __main__ as law
from eval.law import collect, fit, read
from eval.law.laws import Chinchilla, Recurrence, Saturating
from tests import tiny
from tests.test_train import TASKS
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts

TRUTH = {"alpha": 0.199, "beta": 0.369, "E": 1.57, "A": 28.0, "B": 950.0}
PHIS = (0.0, 0.2, 0.46, 0.65, 1.0, 1.3)
NOISE = 0.0035  # of the logarithm of the loss, as left over in arXiv 2604.21106


def sweep(phi: float, noise: float = 0.0, seed: int = 0, sizes=(6, 8, 10, 12, 14), rs=(1, 2, 4, 8)):
    """Losses at six budgets, by widths 64 s and recursions, of 20 layers in all: the paper's."""
    rng, rows = np.random.default_rng(seed), []
    for budget in np.geomspace(4.64e17, 2.15e19, 6):
        for r in rs:
            for s in sizes:
                d = 64 * s
                once, repeated = 4 * 12 * d**2, (16 // r * 12 + 2) * d**2
                D = budget / (6 * (once + r * repeated))
                reducible = TRUTH["A"] * (once + r**phi * repeated) ** -TRUTH["alpha"]
                loss = TRUTH["E"] + reducible + TRUTH["B"] * D ** -TRUTH["beta"]
                rows.append((once, repeated, r, D, loss * np.exp(noise * rng.standard_normal())))
    return dict(zip(("n_once", "n_rec", "r", "D", "loss"), np.array(rows, float).T, strict=True))


def written(path, rows: dict) -> str:
    lines = [
        ",".join(rows),
        *(",".join(map(repr, map(float, row))) for row in zip(*rows.values(), strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


# ---- reference


@pytest.mark.parametrize("phi", PHIS)
def test_without_noise_everything_is_recovered(phi):
    rows = sweep(phi)
    found = Recurrence().told(fit.fit(Recurrence(), rows, seed=0, starts=60).theta)
    assert found.pop("phi") == pytest.approx(phi, abs=1e-4)
    assert found == pytest.approx(TRUTH, rel=1e-3)


@pytest.mark.parametrize("phi", [0.2, 0.65])
def test_of_24_runs_too(phi):
    rows = sweep(phi, sizes=(6, 12), rs=(1, 4))
    assert len(rows["loss"]) == 24
    assert fit.fit(Recurrence(), rows, seed=0, starts=60).theta[5] == pytest.approx(phi, abs=1e-4)


def test_three_outliers_hardly_move_it_and_least_squares_go_astray():
    rows = sweep(0.459, NOISE)
    spoilt = rows | {"loss": rows["loss"].copy()}
    spoilt["loss"][[7, 40, 90]] *= 1.15
    clean, huber = (fit.fit(Recurrence(), one, 0, starts=60).theta[5] for one in (rows, spoilt))
    squares = fit.fit(Recurrence(), spoilt, 0, delta=1e3, starts=60).theta[5]
    assert huber == pytest.approx(clean, abs=0.02)
    assert abs(squares - clean) > 0.04


@pytest.mark.hostile
def test_intervals_hold_the_truth_in_nine_of_ten_seeds():
    hits = 0
    for seed in range(10):
        best = fit.fit(Recurrence(), sweep(0.459, NOISE, seed), 0, starts=60)
        thetas = fit.resampled(best, law.cells(best.rows), 100, seed=0)
        low, high = np.percentile(thetas[:, 5], law.INTERVAL)
        hits += low <= 0.459 <= high
    assert hits >= 9


@pytest.mark.parametrize(
    ("curve", "truth"),
    [(Saturating("L"), (0.02, 0.9, 0.7)), (Saturating("T"), (2.9, 4.0, 0.3))],
)
def test_curves_that_saturate_are_recovered(curve, truth):
    y, A, k = truth
    x = np.array([1.0, 2, 3, 4, 6, 8, 12, 16])
    rows = {curve.x: x, "loss": y + A * np.exp(-k * x)}
    best = fit.fit(curve, rows, seed=0, starts=60)
    scale = rows["loss"].max()
    found = curve.told(best.theta)
    assert (found["y_inf"] * scale, found["A"] * scale, found["k"]) == pytest.approx(
        truth, rel=1e-4
    )


def test_an_accuracy_that_rises_is_a_curve_too():
    x = np.arange(1.0, 9)
    rows = {"L": x, "loss": 0.95 - 0.8 * np.exp(-0.5 * x)}
    found = Saturating("L").told(fit.fit(Saturating("L"), rows, seed=0, starts=60).theta)
    assert found["A"] < 0
    assert found["k"] == pytest.approx(0.5, rel=1e-4)


def test_chinchilla_is_the_law_without_recursions():
    rows = sweep(0.0, rs=(1,))
    rows = {"N": rows["n_once"] + rows["n_rec"], "D": rows["D"], "loss": rows["loss"]}
    found = Chinchilla().told(fit.fit(Chinchilla(), rows, seed=0, starts=60).theta)
    assert found == pytest.approx(TRUTH, rel=1e-3)


# ---- invariants


def test_slopes_are_those_of_the_residuals():
    rows = sweep(0.3, rs=(1, 4))
    theta = np.array([[3.0, 0.2, 7.0, 0.35, 0.4, 0.6]])
    _, J = Recurrence().residuals(theta, rows)
    for i in range(6):
        step = np.zeros_like(theta)
        step[0, i] = 1e-6
        ahead, behind = (Recurrence().residuals(theta + s * step, rows)[0] for s in (1, -1))
        np.testing.assert_allclose(J[..., i], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-7)


def test_the_order_of_rows_and_repeating_change_nothing():
    rows = sweep(0.459, NOISE, sizes=(6, 10, 14))
    order = np.random.default_rng(3).permutation(len(rows["loss"]))
    mixed = {name: values[order] for name, values in rows.items()}
    one, other = (fit.fit(Recurrence(), r, seed=0, starts=40) for r in (rows, mixed))
    assert np.array_equal(one.theta, other.theta)
    twice = [fit.resampled(one, law.cells(one.rows), 5, seed=1) for _ in range(2)]
    assert np.array_equal(*twice)


# ---- the command


def run(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(fit, "STARTS", 40)
    monkeypatch.setattr(sys, "argv", ["law", *words])
    code = 0
    try:
        with one_line():
            law.main(list(words))
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_two_files_are_compared(tmp_path, monkeypatch, capsys):
    mine, theirs = (
        written(tmp_path / f"{phi}.csv", sweep(phi, NOISE, sizes=(6, 10, 14)))
        for phi in (0.65, 0.45)
    )
    words = ("fit", mine, f"baseline={theirs}", "resamples=20", f"json={tmp_path / 'law.json'}")
    code, out, _ = run(monkeypatch, capsys, *words)
    assert code == 0
    assert all(word in out for word in ("phi ", "R2", "phi=0 held", "r=8", "delta phi +0."))
    found = json.loads((tmp_path / "law.json").read_text())
    assert found["delta_phi"]["interval"][0] > 0
    assert found["parameters"]["phi"] > found["baseline"]["parameters"]["phi"]


def test_a_sweep_without_single_recursions_is_warned_of(tmp_path, monkeypatch, capsys):
    path = written(tmp_path / "x.csv", sweep(0.5, rs=(2, 4, 8), sizes=(6, 12)))
    code, out, _ = run(monkeypatch, capsys, "fit", path, "resamples=5")
    assert code == 0
    assert "warning: no run has r=1" in out


GOOD = "n_once,n_rec,r,D,loss\n"
BAD = {
    "": "empty; the first line must be n_once,n_rec,r,D,loss",
    "n_once,n_rec,r,loss\n1,1,1,1\n": "and no D; use n_once,n_rec,r,D,loss[,group]",
    "n_once,n_rec,r,D,loss,r\n": "two columns are called r",
    "n_once;n_rec;r;D;loss\n": "use commas",
    GOOD + "1,2,1,5,2\n": "1 rows; a fit of 6 numbers takes 7",
    GOOD + "1,2,1,5,x\n": "x.csv:2: loss=x is no number",
    GOOD + "1,2,1,5,nan\n": "loss=nan is not finite",
    GOOD + "1,2,1,5,-3\n": "loss=-3 must be above 0",
    GOOD + "1,2,0.5,5,3\n": "r=0.5 must be 1 or more",
    GOOD + "1,0,1,5,3\n": "n_rec=0 must be above 0",
    GOOD + "1,2,1,5\n": "x.csv:2: 4 cells, and the first line has 5",
    GOOD + "".join(f"1,2,4,{d},3\n" for d in range(1, 9)): "every row has r=4",
    GOOD + "".join(f"1,{d},{d},7,3\n" for d in range(1, 9)): "every row has the same D",
    GOOD + "".join(f"1,2,{d},{d},3\n" for d in range(1, 9)): "every row has the same N",
    GOOD + "".join(f"1,{d},{d},{d},0\n" for d in range(1, 9)): "a loss of 0 has no logarithm",
}


@pytest.mark.parametrize(("text", "said"), BAD.items(), ids=BAD.values())
def test_rows_that_say_nothing_are_refused_in_one_line(text, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.csv").write_text(text)
    code, out, err = run(monkeypatch, capsys, "fit", str(tmp_path / "x.csv"))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit",), "use fit FILE.csv"),
        (("fit", "a.csv", "b.csv"), "another to compare it with is baseline=FILE.csv"),
        (("fit", "no.csv"), "no.csv: No such file"),
        (("fit", "no.csv", "law=moore"), "law=moore is unknown"),
        (("fit", "no.csv", "law=depth", "baseline=x"), "use law=recurrence"),
        (("fit", "no.csv", "samples=3"), "samples=3 is no option here"),
        (("draw",), "draw is unknown"),
        (("collect", "runs/a"), "use collect runs/a runs/b ... out=FILE.csv"),
        (("collect", "runs/a", "out=x.csv", "D=all"), "D=all is unknown"),
    ],
)
def test_a_wrong_call_says_how_to_call_it(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(monkeypatch, capsys, *words)
    assert code == 2
    assert said in err


# ---- collecting runs


def test_parameters_that_two_recursions_use_are_repeated():
    facts = Facts(vocab_size=6, grid=(4, 4), box=(2, 2), num_puzzle_identifiers=3)

    def counted(name: str, **options) -> tuple[int, int]:
        return collect.parameters(tiny.model(name, **options), facts)

    def size(module) -> int:
        return sum(p.numel() for p in module.parameters())

    huginn = tiny.model("huginn", recursions=3)
    ends = size(huginn.prelude) + size(huginn.coda) + size(huginn.norm)
    assert counted("huginn", recursions=3) == (ends, size(huginn.core) + size(huginn.adapter))
    trm = tiny.model("trm")
    assert counted("trm") == (0, size(trm.core))
    relaxed = tiny.model("relaxed", recursions=2)
    once = size(relaxed.lora) + size(relaxed.norm)  # each loop has its own
    assert counted("relaxed", recursions=2) == (once, size(relaxed.core))


def test_runs_become_rows_that_can_be_fitted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = (
        "task=sudoku",
        "scale=small",
        *TASKS["sudoku"],
        "batch=4",
        "device=cpu",
        "optim.warmup=1",
    )
    for width in (16, 32):
        for loops in (1, 2):
            size = (f"model.width={width}", "model.heads=2", "model.layers=1")
            how = ("model=looped", f"model.recursions={loops}", "steps=2", f"name=w{width}-{loops}")
            train.train(tiny.config(*words, *size, *how))
    capsys.readouterr()
    runs = sorted(f"runs/{path.name}" for path in (tmp_path / "runs").iterdir())
    code, out, err = run(monkeypatch, capsys, "collect", *runs, "out=rows.csv", "D=unique")
    assert code == 0, err
    assert "4 runs; D counts unique" in out
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["r"] for row in rows) == ["1", "1", "2", "2"]
    assert all(float(row["loss"]) > 0 and row["D"] == "4" for row in rows)
    with pytest.raises(UserError, match="4 rows; a fit of 6 numbers takes 7"):
        read.read(tmp_path / "rows.csv", Recurrence())
