"""A run remembers its puzzles: what was trained on is told, what has changed is not passed over,
ARC tasks are known by name, and weights go on elsewhere.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import train
from eval import solve
from eval.load import model_for, open_run, puzzles_for
from tests import tiny
from tests.test_arc import PAIR, write
from tests.test_use import words
from tinyreason.errors import UserError
from tinyreason.run import puzzles

QUICK = ("scale=small", "model.width=16", "model.heads=2", "steps=4", "batch=4", "device=cpu")
QUICK += ("halting.segments=2", "eval.batch=8", "ema=0.5", "optim.warmup=1", "eval_every=10")
COUNTS = ("task.train_puzzles=6", "task.valid_puzzles=2", "task.test_puzzles=5")
HEADER = "question,answer\n"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with two files of puzzles of side 4, none of them symmetric to another."""
    monkeypatch.chdir(tmp_path)
    made = tiny.sudoku(side=4, train_puzzles=10, valid_puzzles=0, test_puzzles=10).load(0)
    for name, split in (("one", "train"), ("two", "test")):
        part = made[split]
        rows = zip(*map(tiny.sudoku_texts, (part.inputs, part.labels)), strict=True)
        Path(f"{name}.csv").write_text(HEADER + "".join(f"{q},{a}\n" for q, a in rows))
    return tmp_path


def trained(*more: str, name: str = "x", source: str = "[one.csv,two.csv]") -> dict:
    given = ("task=sudoku", f"task.source={source}", *COUNTS, *QUICK, f"name={name}", *more)
    return train.train(tiny.config(*given))


def told(capsys, **changes) -> str:
    capsys.readouterr()
    solve.main(words(Path("runs/x"), **changes))
    return capsys.readouterr().out


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what was trained on


def test_puzzles_that_were_trained_on_are_counted(place, capsys):
    trained()
    assert len(puzzles.read_keys(Path("runs/x"))) == 6
    out = Path("found.json")
    lines = told(capsys, source="one.csv", json=str(out))
    assert "note: 6 of these 10 puzzles were trained on (up to symmetry)" in lines
    found = json.loads(out.read_text())
    assert found["trained_on"] == 6
    own, others = (puzzles_for(open_run("runs/x"), "test", s) for s in ("one.csv", "two.csv"))
    assert own.trained_on.sum() == 6
    rows = np.array([c == "1" for c in found["solved"]])
    assert found["exact_on_others"] == rows[~own.trained_on].mean()
    assert not others.trained_on.any()
    assert "trained on" not in told(capsys, source="two.csv")
    assert "trained on" not in told(capsys)


def test_turned_and_renamed_they_are_still_known(place):
    trained()
    task = tiny.sudoku(side=4)
    part = puzzles_for(open_run("runs/x"), "test", "one.csv").puzzles
    drawn = task.augment(part.rows(), np.zeros(len(part), np.int64), np.random.default_rng(0))
    texts = zip(*map(tiny.sudoku_texts, drawn[:2]), strict=True)
    Path("turned.csv").write_text(HEADER + "".join(f"{q},{a}\n" for q, a in texts))
    assert puzzles_for(open_run("runs/x"), "test", "turned.csv").trained_on.sum() == 6


def test_all_rows_of_a_source_are_examined_unless_fewer_are_asked_for(place, capsys):
    trained()
    assert "(10 puzzles)" in told(capsys, source="two.csv")
    assert "(3 puzzles)" in told(capsys, source="two.csv", max_puzzles=3)
    assert "(10 puzzles)" in told(capsys, source="two.csv", max_puzzles=100)
    lines = Path("two.csv").read_text().splitlines()
    Path("twice.csv").write_text("\n".join([*lines, *lines[1:]]) + "\n")
    assert "(20 puzzles)" in told(capsys, source="twice.csv")
    assert "(5 puzzles)" in told(capsys)


# ---- what has changed


def changed_file(name: str) -> None:
    lines = Path(name).read_text().splitlines()
    Path(name).write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")


def test_a_reordered_source_is_told_at_evaluation_and_refused_on_resume(place, capsys):
    trained()
    changed_file("two.csv")
    told_ = "have changed: test (others, or in another order) since this run was trained"
    assert told_ in told(capsys)
    Path("runs/x/result.json").unlink()
    line = refusal(trained)
    assert "have changed: test (others, or in another order); use name=NEW" in line
    capsys.readouterr()
    trained("resume_override=true")
    assert "note: the puzzles of" in capsys.readouterr().out


def test_a_missing_source_is_named(place):
    trained()
    Path("two.csv").unlink()
    assert "task.source='two.csv': no such file" in refusal(solve.main, words(Path("runs/x")))


# ---- ARC by name


def arc_folder(path: Path, names: str) -> Path:
    for name in names:
        write(path / f"{name}.json", {"train": [PAIR], "test": [PAIR]})
    return path


ARC_WORDS = ("task=arc", "task.canvas=6", "task.copies=2", "task.translate=false")


def trained_on_arc(source: Path, name: str, *more: str) -> dict:
    given = (*ARC_WORDS, f"task.source={source}", *QUICK, "optim.embedding_lr=1", f"name={name}")
    return train.train(tiny.config(*given, *more))


def table_of(run: str) -> np.ndarray:
    return open_run(run).model.encoder.puzzles.table.numpy()


def test_arc_tasks_keep_their_embedding_by_name(place):
    abc, cab = arc_folder(place / "abc", "abc"), arc_folder(place / "cab", "acb")
    trained_on_arc(abc, "x")
    run = open_run("runs/x")
    before = table_of("runs/x")
    assert len(np.unique(before, axis=0)) > 3
    examined = puzzles_for(run, "test", str(cab))
    assert (model_for(run, examined.task, "own").encoder.puzzles.table.numpy() == before).all()
    shutil.move(cab / "b.json", cab / "z.json")
    run = open_run("runs/x")
    examined = puzzles_for(run, "test", str(cab))
    line = refusal(model_for, run, examined.task, "own")
    assert "not trained on 1 of these tasks (z)" in line
    assert "embedding=mean" in line
    mixed = model_for(run, examined.task, "mean").encoder.puzzles.table.numpy()
    names = [name for name, count, _ in examined.task.named_tasks() for _ in range(count)]
    known = {"a": before[1:3], "b": before[3:5], "c": before[5:7]}
    for name in "ac":
        assert (mixed[1:][np.array(names) == name] == known[name]).all()
    assert np.allclose(mixed[1:][np.array(names) == "z"], before[1:].mean(0))


def test_other_augmentations_of_a_known_task_are_refused(place):
    trained_on_arc(arc_folder(place / "abc", "abc"), "x")
    run = open_run("runs/x")
    run.config.task["copies"] = 3
    examined = puzzles_for(run, "test", str(place / "abc"))
    assert "was trained with 2 other augmentations than these 3" in refusal(
        model_for, run, examined.task, "own"
    )


def test_a_file_of_arc_tasks_is_answered(place, capsys):
    trained_on_arc(arc_folder(place / "abc", "abc"), "x")
    hidden = {name: {"train": [PAIR], "test": [{"input": PAIR["input"]}]} for name in "ac"}
    for file in (place / "abc" / "b.json", Path(write(place / "x_challenges.json", hidden))):
        capsys.readouterr()
        solve.main(words(Path("runs/x"), puzzle=file, json="out.json"))
        named = {"b"} if file.name == "b.json" else {"a", "c"}
        assert json.loads(Path("out.json").read_text()).keys() == named
    pairs = write(place / "pairs.json", [PAIR])
    line = refusal(solve.main, words(Path("runs/x"), puzzle=pairs))
    assert f"{pairs}: a list of pairs, none of them a test" in line


def test_a_new_run_takes_over_embeddings_by_name(place, capsys):
    trained_on_arc(arc_folder(place / "abc", "abc"), "x")
    before = table_of("runs/x")
    other = arc_folder(place / "bcd", "bcd")
    trained_on_arc(other, "y", "init=runs/x", "optim.embedding_lr=0", "steps=1")
    out = capsys.readouterr().out
    assert "init=runs/x: 2 of 3 tasks keep their embedding, begun afresh: d" in out
    after = table_of("runs/y")
    assert (after[1:5] == before[3:7]).all()
    assert not after[5:].any()


# ---- weights alone


def test_more_steps_for_a_finished_run(place, capsys):
    result = trained()
    assert "use name=NEW init=runs/x for more steps from its weights" in refusal(trained)
    line = refusal(trained, "steps=8")
    assert "steps 4 -> 8" in line
    assert "name=NEW init=runs/x" in line
    trained("init=runs/x", "optim.lr=0", "steps=1", "batch=7", name="y")
    assert "init=runs/x: taken " in capsys.readouterr().out
    again = json.loads(Path("runs/y/result.json").read_text())
    assert again["sha256"]["raw"] == result["sha256"]["ema"]


@pytest.mark.parametrize("init", ["runs/x", "runs/x/checkpoints/step_00000004.pt"])
def test_other_grids_take_what_fits(place, capsys, init):
    trained()
    train.train(
        tiny.config("task=sudoku", "task.side=6", *COUNTS, *QUICK, "name=y", f"init={init}")
    )
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("init="))
    assert "begun afresh: core.blocks.0.mix" in line
    assert "encoder.tokens" in line


def test_what_does_not_fit_names_init(place):
    trained()
    path = Path("runs/x/checkpoints/step_00000004.pt")
    line = refusal(trained, f"resume={path}", "batch=5", name="y")
    assert f"use init={path} to begin a new run from its weights alone" in line
    assert "init=nowhere" in refusal(trained, "init=nowhere.pt", name="z")
    assert not Path("runs/z").exists()
    assert "none of its weights fits" in refusal(
        trained, "init=runs/x", "model.width=32", "model=hrm", "model.mix=attention", name="w"
    )


# ---- true sentences


def test_what_cannot_learn_is_said(place, capsys):
    trained("optim.lr=0", "optim.warmup=9", "eval_every=2", "log_every=1")
    out = capsys.readouterr().out
    assert "optim.lr=0: the weights will not move" in out
    assert "optim.warmup=9 is not shorter than steps=4" in out
    assert "hint: the loss has not moved" in out
    lines = [json.loads(line) for line in Path("runs/x/log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    assert all(line["grad_norm"] > 0 and line["lr"] == 0 for line in steps)


def test_the_rate_of_each_log_line_is_that_of_its_step(place):
    trained("optim.lr=1e-2", "optim.warmup=4", "log_every=1")
    lines = [json.loads(line) for line in Path("runs/x/log.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines if line["kind"] == "train"]
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
