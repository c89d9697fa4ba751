"""The page of a run: curves by hand, what is missing or damaged, names that are HTML, and a whole
page of a run.
"""

import json
import math
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("matplotlib", reason="pages need the viz extra")
pytest.importorskip("PIL", reason="pages need the viz extra")

import train
from conf.cli import one_line
from eval import compare
from eval.load import puzzles_for
from eval.report import __main__ as command
from eval.report import arms, costs, curves, draw, examples, file, options, outcome
from eval.report.log import Log, read_log, read_result
from eval.report.seen import read_seen
from tests import tiny
from tests.keep import KEPT
from tests.test_eval import write_run
from tests.test_use import COUNTS, QUICK, RUNS
from tinyreason.errors import UserError

WORDS = (*RUNS["sudoku"], *QUICK, "log_every=1", "device=cpu", "name=tiny", "gradient=one_step")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    root, before = tmp_path_factory.mktemp("work"), Path.cwd()
    os.chdir(root)
    try:
        train.train(tiny.config(*WORDS))
    finally:
        os.chdir(before)
    return root / "runs/tiny"


@pytest.fixture
def copy(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def line(kind: str, step: int, seconds: float = 0.0, **values) -> dict:
    return {"kind": kind, "step": step, "seconds": seconds} | values


def written(path: Path, lines: list[dict], end: str = "\n") -> Path:
    path.write_text("\n".join(json.dumps(one) for one in lines) + end)
    return path


def refusal(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        command.main([str(word) for word in words])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def page_of(folder: Path, *words: str) -> str:
    """The page that the command writes into `folder`."""
    command.main([*map(str, words), f"out={folder}"])
    return (folder / "report.html").read_text()


# ---- the log


def test_a_log_that_went_back_says_what_counts(tmp_path):
    lines = [
        line("train", 10, loss=3.0),
        line("train", 20, loss=2.0),
        line("eval", 20, split="valid", exact_accuracy=0.1),
        line("train", 30, loss=9.0),  # killed here, resumed from step 20, whose log was lost
        line("train", 20, loss=2.5),
        line("eval", 20, split="valid", exact_accuracy=0.2),
        line("train", 30, loss=1.0),
        line("final", 30, split="test", exact_accuracy=0.3),
    ]
    log = read_log(written(tmp_path / "log.jsonl", lines))
    assert curves.curve(log.of("train"), "loss") == {"step": [10, 20, 30], "loss": [3, 2.5, 1]}
    assert curves.curve(log.held_out, "exact_accuracy")["exact_accuracy"] == [0.2]
    assert len(log.of("final")) == 1
    assert not log.torn


def test_a_resumed_log_of_a_finished_run_has_no_end_in_its_middle(tmp_path):
    lines = [line("train", 10), line("final", 10, split="test"), line("train", 20)]
    log = read_log(written(tmp_path / "log.jsonl", lines))
    assert [(one["kind"], one["step"]) for one in log.lines] == [
        ("train", 10),
        ("final", 10),
        ("train", 20),
    ]
    back = [*lines, line("train", 15)]
    log = read_log(written(tmp_path / "log.jsonl", back))
    assert [one["step"] for one in log.of("train")] == [10, 15]


def test_values_that_are_not_there_are_left_out_of_curves():
    lines = [line("train", 1, lr=0.1), line("train", 2), line("train", 3, lr=0.3, exact=0.5)]
    found = curves.curve(lines, "lr", "exact")
    assert (found["step"], found["lr"]) == ([1, 3], [0.1, 0.3])
    assert math.isnan(found["exact"][0])
    assert found["exact"][1] == 0.5


def test_a_last_line_that_is_being_written_is_left_out(tmp_path):
    path = written(tmp_path / "log.jsonl", [line("train", 10)])
    with path.open("a") as log:
        log.write('{"kind": "tra')
    assert read_log(path).torn
    assert [one["step"] for one in read_log(path).lines] == [10]
    assert read_log(tmp_path / "missing").lines == []


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        '{"kind": "train"}',
        '{"kind": "train", "step": 1}',
        '{"kind": "train", "step": 1, "seconds": "2"}',
        '{"kind": "train", "step": 1, "seconds": 2, "loss": "low"}',
        '{"kind": "final", "step": 1, "seconds": 2, "exact_by_segment": [0.5, null]}',
    ],
)
def test_a_damaged_line_is_named(tmp_path, bad):
    path = tmp_path / "log.jsonl"
    path.write_text(f"{json.dumps(line('train', 1))}\n{bad}\n{json.dumps(line('train', 2))}\n")
    with pytest.raises(UserError, match=r"log\.jsonl:2: damaged"):
        read_log(path)


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        "{}",
        '{"finished": 1, "test": {}}',
        '{"finished": true, "test": []}',
        '{"finished": true, "test": {}, "steps": "6"}',
        '{"finished": true, "test": {}, "versions": []}',
        '{"finished": true, "test": {"exact_accuracy": "half"}}',
    ],
)
def test_a_damaged_result_is_named(tmp_path, bad):
    (tmp_path / "result.json").write_text(bad)
    with pytest.raises(UserError, match=r"result\.json: damaged"):
        read_result(tmp_path / "result.json")
    assert read_result(tmp_path / "missing.json") is None


# ---- numbers, by hand


def test_the_mean_is_over_the_steps_that_all_runs_have():
    one = {"step": [10, 20, 30], "exact": [0.1, 0.2, 0.3], "seconds": [1.0, 2.0, 3.0]}
    other = {"step": [20, 30, 40], "exact": [0.6, 0.5, 0.9], "seconds": [4.0, 9.0, 10.0]}
    found = curves.mean_curve([one, other], "exact", "seconds")
    assert found["step"] == [20, 30]
    assert found["exact"] == pytest.approx([0.4, 0.4])
    assert found["seconds"] == pytest.approx([3.0, 6.0])
    assert curves.mean_curve([one], "exact")["exact"] == one["exact"]
    assert curves.mean_curve([one, {"step": [7], "exact": [1.0]}], "exact")["exact"] == []


def test_pace_and_the_time_of_evaluations():
    """A step takes 0.1 s; the evaluations after steps 20 and 40 take 5 and 7 s."""
    seconds = {10: 1.0, 20: 2.0, 30: 8.0, 40: 9.0, 50: 17.0, 60: 18.0}
    lines = [line("train", step, at) for step, at in seconds.items()]
    lines += [line("eval", step, seconds[step], split="valid") for step in (20, 40, 60)]
    log = Log(lines)
    assert curves.pace(log)["step"] == [20, 40, 60]
    assert curves.pace(log)["seconds"] == pytest.approx([0.1] * 3)
    assert curves.evaluations(log) == (pytest.approx(12.0), 2)
    assert curves.evaluations(Log(lines[:6])) is None
    every = [one for one in lines if one["step"] in (20, 30, 60)]
    assert curves.pace(Log(lines[1:3] + every[3:]))["seconds"] == pytest.approx([0.6])


def test_sizes_in_words():
    assert costs.in_powers(95.7e6) == "95.7 10^6 FLOP"
    assert costs.in_powers(999) == "999 FLOP"
    assert (costs.in_hours(99), costs.in_hours(7260)) == ("", " (2 h 1 min)")


def test_what_is_not_as_usual_is_found():
    words = ("task=sudoku", "model=trm", "scale=small")
    config = options.plain(tiny.config(*words, "gradient=last", "seed=3", "name=mine"))
    nearest, changed = options.differences(config)
    assert nearest == list(words)
    assert changed["seed"] == (3, 0)
    assert changed["gradient.name"] == ("last", "full")
    assert changed["gradient.recursions"][1] == options.ABSENT
    assert changed.keys() == {"seed", "gradient.name", "gradient.recursions"}
    choice = options.plain(tiny.config("task=sudoku", "model=mixture_token", "scale=small"))
    assert options.differences(choice) == (["task=sudoku", "model=mixture_token", words[2]], {})


def test_what_files_decide_is_no_choice_of_the_user():
    files = "task.source=[a.csv,b.csv]"
    config = options.plain(tiny.config("task=sudoku", "model=trm", "scale=small", files))
    config["task"] |= {"train_puzzles": "auto", "valid_puzzles": "auto", "test_puzzles": "auto"}
    config["task"]["side"] = None
    assert options.differences(config)[1].keys() == {"task.source"}
    config["model"]["name"] = "unheard"
    assert options.differences(config)[1]["model.name"] == ("unheard", "trm")
    config["task"]["name"] = "unheard"
    assert options.differences(config) is None


# ---- charts


def test_a_chart_is_text_that_fetches_nothing():
    drawn = draw.chart("Loss <1>", [draw.Line([1, 2], [0.5, math.nan])], "step")
    assert "<svg" in drawn
    assert "Loss &lt;1&gt;" in drawn
    assert "http" not in drawn
    assert ' id="axes_1"' not in drawn
    assert draw.chart("nothing", [draw.Line([], [])], "step") == ""
    endless = [draw.Line([1, 2], [math.inf, math.nan])]
    assert "<svg" in draw.chart("lost", endless, "step", share=True)


def test_names_in_a_legend_are_escaped_and_told_apart():
    names = [f"<{i}> & _$x$" for i in range(30)]
    found = draw.legend(names)
    assert "<0>" not in found
    assert "&lt;0&gt; &amp; _$x$" in found
    assert len({draw.look_of(place) for place in range(24)}) == 24
    assert draw.legend(["alone"]) == ""


def test_a_picture_shows_names_as_they_are(tmp_path):
    curve = {"step": [1, 2], "segments": [2, 4], "seconds": [1.0, 2.0], "exact": [0.1, 0.9]}
    found = {"_a$b$": [curve, curve], "<c>": [curve]}
    thin = [one.thin for one in arms.lines(found, "seconds", "exact")]
    assert thin == [True, True, False, False]
    arms.save_picture(found, tmp_path / "arms.png")
    assert (tmp_path / "arms.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert arms.plain("_a$b$") == r" _a\$b\$"


# ---- words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no runs given"),
        (["run="], "no runs given"),
        (["run"], "run needs a value"),
        (["run=a", "run=b"], "run= is given twice"),
        (["a", "colour=red"], "colour=red is no option here"),
        (["a", "examples=some"], "examples=some must be a whole number"),
        (["a", "examples=-1"], "examples=-1 must be a whole number"),
        (["a", "b"], "give a folder for the page, as in out=report"),
        (["run=a,b"], "give a folder for the page"),
        (["hub:a/b"], "give a folder for the page"),
        (["nowhere"], "nowhere: there is no such run"),
        (["nowhere", "out=taken"], "out=taken is not a folder"),
        (["nowhere", "out="], "out= is not a folder"),
        (["empty"], "empty is not a run"),
        (["taken"], "taken is not a run"),
        (["run=odd"], "odd/config.yaml: damaged, no task.name"),
        (["kept", "out=foreign"], "is there already, and not a report"),
        (["kept", "kept", "out=new"], "kept is given twice"),
    ],
)
def test_bad_words_are_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "odd", "foreign"):
        Path(folder).mkdir()
    Path("taken").write_text("mine")
    Path("foreign/report.html").write_text("mine")
    Path("odd/config.yaml").write_text("model: {name: trm}\ntask: [1]\n")
    if "kept" in words:
        shutil.copytree(KEPT / "0.3.0/trm", "kept")
    assert says in refusal(*words)
    with pytest.raises(SystemExit) as left, one_line():
        command.main(words)
    assert left.value.code == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert Path("foreign/report.html").read_text() == "mine"
    assert not Path("new").exists()


def test_without_the_viz_extra_it_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install -e '.[viz]'" in refusal(run, f"out={tmp_path}")
    assert not list(tmp_path.iterdir())


def test_only_a_page_of_ours_is_replaced(tmp_path):
    path = tmp_path / "report.html"
    file.refuse_foreign(path)
    file.write_page(path, "first", [])
    file.refuse_foreign(path)
    path.write_text("<!doctype html>mine")
    with pytest.raises(UserError, match="not a report"):
        file.refuse_foreign(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="not a report"):
        file.refuse_foreign(path)


# ---- whole pages


def test_the_page_of_a_run(copy):
    command.main([f"run={copy}"])
    first = (copy / "report.html").read_text()
    command.main([str(copy), "examples=0"])
    page = (copy / "report.html").read_text()
    assert first.count("<img") > 8
    assert "<img" not in page
    result = json.loads((copy / "result.json").read_text())
    for told in (
        "copy: trm on sudoku",
        "<h2>Curves</h2>",
        "Exact accuracy after each segment",
        f"{result['parameters']:,}",
        f"{result['segments']:,}",
        "one_step",
        '<th scope="row">gradient.name</th><td>one_step</td><td>full</td>',
        "python train.py task=sudoku model=trm scale=small",
        "closed form",
        "6 of 6",
        result["versions"]["torch"],
    ):
        assert told in first, told
    assert first.count("<svg") == 8
    for text in ("http:", "https:", "src=/", "<script"):
        assert text not in first


def test_examples_are_those_that_the_result_names(copy):
    result = json.loads((copy / "result.json").read_text())
    result["test"]["solved"] = "01101000"
    (copy / "result.json").write_text(json.dumps(result))
    seen = read_seen(str(copy))
    examined = puzzles_for(seen.trained, "test")
    rows = examined.puzzles.rows()
    which, looked = examples.chosen(seen, rows, examined, 2)
    assert (which.tolist(), looked) == ([0, 1, 2, 3], 8)
    seen.result["test"]["puzzles_sha256"] = "of others"
    which, looked = examples.chosen(seen, rows, examined, 2)
    assert (which.tolist(), looked) == (list(range(8)), 8)


def test_wrong_cells_are_counted(run):
    seen = read_seen(str(run))
    examined = puzzles_for(seen.trained, "test")
    rows = examined.puzzles.rows()
    right = rows.labels[0]
    assert "wrong" not in examples.example(examined, rows, 0, right, "caption")
    wrong = right.copy()
    wrong[3] = 2 + (wrong[3] - 1) % 4
    told = examples.example(examined, rows, 0, wrong, "caption")
    assert "caption, 1 wrong cell<" in told
    assert told.count("<img") == 3


def test_a_run_that_was_stopped_shows_what_there_is(copy, tmp_path):
    (copy / "result.json").unlink()
    lines = (copy / "log.jsonl").read_text().splitlines()[:6]
    (copy / "log.jsonl").write_text("\n".join(lines) + '\n{"kind": "tr')
    for path in copy.glob("checkpoints/step_00000006*"):
        path.unlink()
    page = page_of(tmp_path / "out", copy)
    assert "No result.json: it is still training, or was stopped." in page
    assert "The last line of its log is not whole" in page
    assert "with the weights of step 4" in page
    assert " of 6<" in page
    assert "Halting head" not in page
    assert "<svg" in page


@pytest.mark.hostile
def test_a_run_without_a_checkpoint_has_a_page_without_examples(copy, tmp_path):
    shutil.rmtree(copy / "checkpoints")
    (copy / "result.json").unlink()
    (copy / "log.jsonl").unlink()
    page = page_of(tmp_path / "out", copy)
    assert "has no checkpoint yet" in page
    assert "there are no curves" in page
    assert "<svg" not in page
    assert "has no checkpoint yet" in refusal(copy, "examples=2", f"out={tmp_path / 'other'}")
    assert not (tmp_path / "other").exists()


@pytest.mark.hostile
def test_a_run_whose_config_is_of_another_version_is_told_of(copy, tmp_path):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["model"]["wings"] = 2
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    page = page_of(tmp_path / "out", copy)
    assert "Its model cannot be built: " in page
    assert "Left out: its model cannot be built." in page
    assert "<svg" in page


@pytest.mark.hostile
def test_names_are_escaped(copy, tmp_path):
    odd = copy.rename(copy.with_name("<b>&_$x$"))
    page = page_of(tmp_path / "out", odd, "examples=0")
    assert "&lt;b&gt;&amp;_$x$: trm on sudoku" in page
    assert "<b>" not in page


@pytest.mark.hostile
def test_several_runs_on_one_page(run, copy, tmp_path):
    twin = shutil.copytree(run, tmp_path / "twin" / "copy")
    page = page_of(tmp_path / "out", f"run={run},{copy}", str(twin), "examples=1")
    assert page.count('<ul class="legend">') == 1
    assert page.count("<svg width=") == 8 + 3
    for name in ("tiny", str(copy), str(twin)):  # two have the same name
        assert f'<th scope="col">{name}</th>' in page
        assert f"<h2>Examples: {name}</h2>" in page


@pytest.mark.parametrize(
    "kept", [pytest.param("0.1.0/hrm", marks=pytest.mark.hostile), "0.3.0/trm"]
)
def test_a_run_of_an_earlier_version(kept, tmp_path):
    page = page_of(tmp_path, str(KEPT / kept), "examples=1")
    assert "No result.json: though its log has an end." in page
    assert "84 of 84" in page
    assert "Exact accuracy after each segment" in page
    assert "at step 42" in page
    assert page.count("<img") >= 2


@pytest.mark.hostile
def test_an_exported_model_has_no_curves(tmp_path):
    page = page_of(tmp_path, str(KEPT / "0.3.0/exported"), "examples=1")
    assert "it has no log and no result.json" in page
    assert "<svg" not in page
    assert "<img" in page


@pytest.mark.hostile
def test_a_maze_has_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (*RUNS["maze"], *QUICK, "device=cpu", "name=maze", "task.valid_puzzles=0")
    train.train(tiny.config(*[w for w in words if w not in COUNTS[1:2]]))
    page = page_of(tmp_path / "out", "runs/maze", "examples=1")
    assert "maze: trm on maze" in page
    assert "Shortest paths" in page
    assert "<img" in page


def test_metrics_of_another_form_are_left_out(copy):
    seen = read_seen(str(copy))
    seen.result["test"] |= {"exact_low": None, "blank_accuracy": [0.5]}
    assert "[" not in outcome.exact(seen)
    assert outcome.RESULT["Blank cells right"](seen) is None


# ---- arms


def test_the_page_of_a_comparison(tmp_path):
    runs = [
        write_run(tmp_path / "a0", "1111111100", 0, "full"),
        write_run(tmp_path / "a1", "1111100000", 1, "full"),
        write_run(tmp_path / "b<0>", "1100000000", 0, "one_step"),
    ]
    for path in runs[:2]:
        lines = [line("train", step, step / 2, loss=1.0) for step in (1, 2, 3)]
        lines += [
            line("eval", step, step / 2, split="valid", exact_accuracy=0.5) for step in (2, 3)
        ]
        written(path / "log.jsonl", lines)
    out = tmp_path / "out"
    compare.main([*map(str, runs), "by=gradient", f"out={out}"])
    page = (out / "compare.html").read_text()
    for told in ("65.0%", "gradient=one_step", "b&lt;0&gt;", "Training loss", "0.031"):
        assert told in page, told
    assert "<0>" not in page
    assert "http:" not in page
    assert json.loads((out / "compare.json").read_text())["curves"]["gradient=full"][0]["step"]
    compare.main([str(runs[0]), f"out={out}"])  # replaced
    (out / "compare.html").write_text("mine")
    with pytest.raises(UserError, match="not a report"):
        compare.main([str(runs[0]), f"out={out}"])
    assert (out / "compare.html").read_text() == "mine"


def test_a_result_that_lacks_something_is_named(tmp_path):
    run = write_run(tmp_path / "a", "10", 0, "full")
    result = json.loads((run / "result.json").read_text())
    del result["test"]["solved"]
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(UserError, match=r"damaged result\.json, it has no solved"):
        compare.main([str(run)])
