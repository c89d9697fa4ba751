"""What a user types, before Hydra reads it: odd paths, grids, the options of other trainers, and
the page that --help prints.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from conf import help
from conf.cli import CONF, keys_of
from conf.words import mended, quoted
from tests import tiny
from tinyreason.errors import UserError

ROOT = Path(__file__).parents[1]
ODD = [
    "sudoku (1)/plain.csv",
    "a=b.csv",
    "a,b.csv",
    "it's.csv",
    'say "x".csv',
    "back\\slash.csv",
    "end\\",
    "tab\there",
    "ünï.csv",
    "{x}.csv",
    "a:b.csv",
    "123.csv",
    "$HOME",
    "a #b",
    "  spaced  ",
    "1_2_3",
    "0053",
    "1e5",
    "12.5",
    "53..7....6..195....98....6.",
    "?1?2",
    "S  #  G # ",
]


@pytest.mark.parametrize("text", ODD)
def test_a_path_or_a_grid_arrives_as_it_was_typed(text):
    parser = OverridesParser.create()
    word = f"puzzle={quoted(text)}"
    value = parser.parse_override(word).value()
    assert str(value) == text, word
    (again,) = mended([f"puzzle={text}"], keys_of("solve"))
    assert again == word


def test_a_list_of_paths_is_quoted_one_by_one():
    value = OverridesParser.create().parse_override(f"k={quoted('[a (1).csv,b.csv]')}").value()
    assert [str(one) for one in value] == ["a (1).csv", "b.csv"]


@pytest.mark.parametrize("value", ["null", "true", "auto", "'quoted'", "", "???"])
def test_what_is_said_in_hydras_words_stays(value):
    assert quoted(value) == value


def test_in_a_sweep_commas_separate():
    assert mended(["-m", "task.source=a.csv,b.csv"], ["task"])[1] == "task.source=a.csv,b.csv"


def test_a_path_with_a_parenthesis_trains(tmp_path):
    folder = tmp_path / "sudoku (1), a=b"
    folder.mkdir()
    config = tiny.config("task=sudoku", "scale=small", f"task.source={folder}")
    assert config.task["source"] == str(folder)
    assert config.task["side"] is None
    assert config.task["train_puzzles"] == "auto"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("lr=1e-3", "lr is optim.lr=1e-3 here"),
        ("--lr", "--lr is optim.lr=... here"),
        ("--lr=1e-3", "--lr is optim.lr=1e-3 here"),
        ("epochs=100", "epochs is steps=... here (one step gives"),
        ("arch=trm", "arch is model=trm here"),
        ("global_batch_size=768", "global_batch_size is batch=768 here"),
        ("+hidden_size=512", "hidden_size is model.width=512 here"),
        ("--batch-size", "--batch-size is batch=... here"),
        ("no_ACT_continue=true", "no_ACT_continue is halting=correctness here"),
        ("--unheard-of", "options are written key=value"),
    ],
)
def test_other_trainers_words_get_the_right_key(word, told):
    with pytest.raises(UserError, match=re.escape(told)):
        mended([word], keys_of("train"))


def test_our_own_words_are_no_foreign_ones():
    own = ["optim=muon", "checkpoint.keep_last=3", "ema=null", "loss=softmax", "-m", "--cfg", "job"]
    assert mended(own, keys_of("train")) == own
    assert mended(["checkpoint=best"], keys_of("solve")) == ["checkpoint=best"]


# ---- --help


def yaml_keys(name: str) -> list[str]:
    text = (CONF / f"{name}.yaml").read_text().split("\nhydra:")[0]
    return [key for key in re.findall(r"^(\w+):", text, re.MULTILINE) if key != "defaults"]


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_a_page_has_purpose_three_examples_and_every_option(name):
    page = help.page(name, ["--help"])
    assert "Hydra" not in page
    assert not page.startswith((" ", "#"))
    assert len(re.findall(r"^  python ", page, re.MULTILINE)) == 3
    for key in yaml_keys(name):
        assert re.search(rf"^  {key}[=.]", page, re.MULTILINE), key
    assert max(map(len, page.splitlines())) <= 140


def test_the_page_of_training_has_the_options_of_the_choices_that_were_typed():
    page = help.page("train", ["model=hrm", "task=maze", "--help"])
    assert "Options of model=hrm:" in page
    assert re.search(r"model\.width=\d+ .*\(1 or more\)", page)
    assert "attention | mixer" in page
    assert "task.min_path=" in page
    assert "trm_one_step" in page


@pytest.mark.hostile
@pytest.mark.parametrize(
    "command",
    [
        ["train.py"],
        *(
            ["-m", f"eval.{name}"]
            for name in ("solve", "export", "compare", "report", "speed", "cost")
        ),
        ["-m", "eval.cost", "plan"],
        ["-m", "data.build"],
        ["-m", "tests.parity"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_a_page_of_its_own(command, flag, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [str(ROOT / word) if word == "train.py" else word for word in command]
    done = subprocess.run(
        [sys.executable, *words, flag],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "powered by Hydra" not in done.stdout
    assert "python " in done.stdout
    assert not list(tmp_path.iterdir())


# ---- other systems


@pytest.mark.hostile
def test_without_what_only_unix_has_a_run_trains(tmp_path):
    code = """
import sys, signal
sys.modules["fcntl"] = sys.modules["resource"] = None
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGQUIT", "SIGALRM"):
    delattr(signal, name)
import train
from tests import tiny
words = ["task=sudoku", "scale=small", "task.side=4", "task.train_puzzles=4", "task.test_puzzles=4"]
words += ["task.valid_puzzles=2", "model.width=16", "model.heads=2", "steps=2", "batch=2", "name=x"]
train.train(tiny.config(*words, "device=cpu"))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "x" / "result.json").is_file()


def test_an_old_python_is_told_in_one_line():
    head = (ROOT / "train.py").read_text().split("if sys.version_info")[0]
    line = next(one for one in (ROOT / "train.py").read_text().splitlines() if "sys.exit" in one)
    assert "from" not in head.split('"""')[2]
    assert "needs Python 3.11" in line
