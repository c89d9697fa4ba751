"""What a user may type wrong: one line that says what to use, exit code 2, nothing written."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import conf
import train
from conf import cli
from conf.schema import AXES, plain
from data import build
from eval import solve
from tests import tiny
from tests.marks import hostile
from tests.test_train import MADE_FOR, WITH
from tinyreason.errors import UserError
from tinyreason.options import Options, flat

ROOT = Path(__file__).parents[1]
TINY = (
    "scale=small",
    "task.side=4",
    "task.train_puzzles=2",
    "task.valid_puzzles=0",
    "task.test_puzzles=2",
    "model.width=16",
    "steps=1",
    "batch=2",
    "name=tiny",
    "halting.segments=1",
)


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Runs a command as its file would when started from an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(program: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{program}.py", *words])
        main = {"train": train.main, "solve": solve.main, "build": build.main}[program]
        try:
            if program != "solve":
                cli.choose_scale()
            cli.command(program, main)
            code = 0
        except SystemExit as left:
            code = left.code
        return code, *capsys.readouterr()

    return run


def assert_refused(outcome: tuple[int, str, str], words: tuple[str, ...], folder: Path) -> None:
    code, _, err = outcome
    assert code == 2, err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err
    assert not list(folder.iterdir()), "a refused command leaves nothing behind"


WRONG = [
    (("step=5",), ("step", "no such key")),
    (("optim.lrr=1",), ("lrr", "no such key")),
    (("model.widht=8",), ("widht", "no such key")),
    (("task.sides=4",), ("sides", "no such key")),
    (("steps=ten",), ("steps", "ten")),
    (("batch=1.5",), ("batch", "1.5")),
    (("model.width=wide",), ("model.width", "wide")),
    (("optim.lr=fast",), ("optim.lr", "fast")),
    (("model=trn",), ("trn", "trm", "hrm")),
    (("task=chess",), ("chess", "sudoku", "maze", "arc")),
    (("halting=act",), ("act", "correctness", "q_learning")),
    (("optim=sgd",), ("sgd", "adam_atan2")),
    (("experiment=none_such",), ("none_such",)),
    (("gradient=two_step",), ("gradient/two_step", "one_step", "full", "bptt")),
    (("gradient=0",), ("gradient=0", "one_step", "full", "bptt")),
    (("gradient=99",), ("gradient=99", "one_step", "full", "last")),
    (("gradient.name=two_step",), ("gradient.name=two_step", "one_step", "full", "bptt")),
    (("gradient=last", "gradient.recursions=0"), ("gradient.recursions=0", "1 or more")),
    (("gradient=full", "+gradient.recursions=2"), ("gradient.recursions", "gradient.name=full")),
    (("depth=deep",), ("depth/deep", "fixed", "poisson", "per_row")),
    (("depth=poisson", "depth.sigma=-1"), ("depth.sigma=-1",)),
    (("supervision=none",), ("supervision/none", "last", "every")),
    (("+model.gradient=full",), ("model.gradient", "model.name=trm")),
    (("loss=mse",), ("loss=mse", "stablemax", "softmax")),
    (("halting.rule=act",), ("halting.rule=act", "correctness")),
    (("halting.segments=0",), ("halting.segments=0",)),
    (("model.mix=conv",), ("model.mix=conv", "attention", "mixer")),
    (("model.positions=rope",), ("model.positions=rope", "rotary")),
    (("model.name=gru",), ("model.name=gru", "single_z")),
    (("model.dtype=fp8",), ("model.dtype=fp8", "bfloat16")),
    (("optim.rule=adam",), ("optim.rule=adam", "adamw")),
    (("optim.matrices=x",), ("optim.matrices=x", "muon")),
    (("task.side=5",), ("task.side=5", "4, 6 or 9")),
    (("task.side=four",), ("task.side=four",)),
    (("task.augment=maybe",), ("task.augment=maybe", "true or false")),
    (("task.train_puzzles=0",), ("task.train_puzzles=0",)),
    (("task.train_puzzles=-5",), ("task.train_puzzles=-5",)),
    (("task.seed=-1",), ("task.seed=-1",)),
    (("task.seed=x",), ("task.seed=x",)),
    (("task.source=no/such.csv",), ("no/such.csv",)),
    (("steps=-1",), ("steps=-1", "1 or more")),
    (("batch=0",), ("batch=0", "1 or more")),
    (("seed=-1",), ("seed=-1", "0 or more")),
    (("log_every=0",), ("log_every=0",)),
    (("save_every=-2",), ("save_every=-2",)),
    (("eval.batch=0",), ("eval.batch=0",)),
    (("max_minutes=-1",), ("max_minutes=-1",)),
    (("device=tpu",), ("device=tpu", "cpu")),
    (("device=quantum",), ("device=quantum", "cpu")),
    (("name=../elsewhere",), ("name=../elsewhere",)),
    (("eval.split=exam",), ("eval.split", "exam", "valid", "test")),
    (("logger.tracker=mail",), ("mail", "wandb")),
    (("resume=true",), ("resume=true", "no checkpoint", "resume=auto")),
    (("resume=no/such.pt",), ("no/such.pt",)),
    (("model.heads=3", "model.mix=attention"), ("model.heads=3",)),
    (("model.H_cycles=0",), ("model.H_cycles",)),
    (("model.layers=-1",), ("model.layers",)),
    (("model.prefix=-1",), ("model.prefix",)),
    (("optim.lr=-1",), ("optim.lr",)),
    (("optim=adamw", "optim.lr=-1"), ("optim.lr",)),
    (("optim.betas=[0.9]",), ("optim.betas",)),
    (("halting.exploration=2",), ("halting.exploration",)),
    (("ema=1.5",), ("ema",)),
    (("optim.warmup=-1",), ("optim.warmup",)),
    (("compile=maybe",), ("compile",)),
    (("graph=maybe",), ("graph", "auto")),
    (("graph=true", "device=cpu"), ("graph=auto",)),
    (("kernels=cuda",), ("kernels", "triton")),
    (("kernels=triton", "device=cpu"), ("kernels=auto",)),
    (("nonsense",), ("nonsense",)),
]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [hostile(*case, when=at % 3 > 0, id=" ".join(case[0])) for at, case in enumerate(WRONG)],
)
def test_a_wrong_option_of_train_is_one_line(wrong, words, call, tmp_path, counted):
    assert_refused(call("train", *TINY, *wrong), words, tmp_path)
    counted("wrong commands: one line, exit code 2, nothing written")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_cuda_without_cuda_is_one_line(call, tmp_path):
    assert_refused(
        call("train", *TINY, "device=cuda"),
        ("device=cuda", "no such CUDA GPU", "device=cpu"),
        tmp_path,
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ((), ("run",)),
        (("run=runs/none",), ("runs/none", "not a run", "run=runs/NAME")),
        (("run=runs/none", "splitt=test"), ("splitt", "no such key")),
        (("run=runs/none", "batch=0"), ("batch=0",)),
        (("run=runs/none", "segments=many"), ("segments", "many")),
    ],
)
def test_a_wrong_option_of_solve_is_one_line(wrong, words, call, tmp_path):
    assert_refused(call("solve", *wrong), words, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ((), ("out",)),
        (("out=x", "task=chess"), ("chess", "sudoku")),
        (("out=x", "task.side=5"), ("task.side=5",)),
        (("out=x", "task.source=no/such.csv"), ("no/such.csv",)),
        (("out=x", "workers=0"), ("workers=0 must be 1 or more",)),
        (("out=x", "workers=many"), ("workers", "many")),
        (("out=x", "workers=1000"), ("workers=1000: 256 is the most",)),
    ],
)
def test_a_wrong_option_of_build_is_one_line(wrong, words, call, tmp_path):
    assert_refused(call("build", *wrong), words, tmp_path)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("optim.lrr=1", "optim.lr"),
        ("train.micro_batch=2", "micro_batch"),
        ("bacth=3", "batch"),
        ("x_y_z=3", None),
    ],
)
def test_the_nearest_key_is_named(typed, meant, call):
    _, _, err = call("train", "task=maze", "model=hrm", typed)
    assert ("Did you mean" in err) == bool(meant)
    assert not meant or err.rstrip().endswith(f"Did you mean {meant}?")


def options_of(part: Options, prefix: str = "") -> Iterator[tuple[Options, str, str, dict]]:
    """The part, the name of the field, its key and its limits, of all that have any."""
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Options):
            yield from options_of(value, f"{prefix}{field.name}.")
        elif field.metadata:
            yield part, field.name, f"{prefix}{field.name}", field.metadata


@pytest.mark.hostile
def test_every_range_and_choice_is_of_a_key_that_there_is():
    """Of every choice of every axis; and a value beyond it is refused under that key."""
    seen = set()
    for axis, registry in AXES.items():
        for name in registry:
            made_for = "trm" if axis == "depth" else MADE_FOR.get((axis, name), "ouro")
            words = (f"model={made_for}", f"{axis}={name}", *WITH.get(name, ()))
            config = tiny.config(*(tiny.choice(name) if axis == "model" else words))
            config.check()
            keys = flat(plain(config))
            for part, field, key, limits in options_of(config):
                assert key in keys
                good = getattr(part, field)
                assert limits["choices"] or limits["least"] is not None, key
                wrong = ["no such"] if limits["choices"] else [limits["least"] - 1, float("nan")]
                wrong += [] if limits["most"] is None else [limits["most"] + 1]
                for bad in wrong:
                    setattr(part, field, bad)
                    with pytest.raises(UserError, match=rf"^{re.escape(key)}="):
                        config.check()
                setattr(part, field, good)
                seen.add(key)
    assert {"steps", "model.mix", "model.rank", "depth.sigma", "gradient.solver", "ema"} <= seen
    assert {"halting.exploration", "optim.lr", "eval.votes", "checkpoint.keep_last"} <= seen


def test_two_wrong_words_and_a_sweep_are_one_line_too(call, monkeypatch, tmp_path):
    for words in (
        ("-m", "model=trm,hrm", "stepz=3"),
        ("model=trn", "stepz=3"),
        ("task=sudoku,maze", "stepz=3"),
    ):
        code, _, err = call("train", *words)
        assert code == 2
        assert err.count("\n") == 1
        assert "Traceback" not in err


def test_ctrl_c_before_training_is_one_line(call, monkeypatch, tmp_path):
    def interrupted(config: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.begin.load_task", interrupted)
    code, _, err = call("train", *TINY)
    assert (code, err) == (130, "error: interrupted\n")
    assert not list(tmp_path.iterdir())


# ---- what is right


def test_the_scale_is_picked_and_said(monkeypatch, capsys):
    for cuda, words, scale in [
        (False, [], "small"),
        (True, [], "paper"),
        (True, ["device=cpu"], "small"),
        (False, ["scale=auto"], "small"),
        (True, ["task=maze", "scale=auto"], "paper"),
    ]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        cli.choose_scale()
        assert sys.argv.count(f"scale={scale}") == 1
        assert "scale=auto" not in sys.argv
        out, other = capsys.readouterr().out, "paper" if scale == "small" else "small"
        assert out.startswith(f"scale={scale} (")
        assert f"use scale=medium or {other}" in out


@pytest.mark.parametrize(
    "words", [["-m", "seed=0,1"], ["task=maze", "--cfg", "job"], ["--cfg", "job", "seed=1"]]
)
def test_the_scale_stands_among_the_choices_with_no_flag_between(words, monkeypatch, capsys):
    monkeypatch.setattr(
        sys,
        "argv",
        ["train.py", "device=cpu", *words] if words[0] != "-m" else ["train.py", *words],
    )
    given = [w for w in sys.argv if "=" in w]
    cli.choose_scale()
    at = sys.argv.index("scale=small")
    assert sys.argv[at + 1] == given[0]


def test_a_scale_given_by_hand_stays(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "scale=paper", "task=arc"])
    cli.choose_scale()
    assert sys.argv == ["train.py", "scale=paper", "task=arc"]
    assert not capsys.readouterr().out


def test_printing_the_configuration_prints_that_alone(call, tmp_path):
    code, out, _ = call("train", *TINY, "--cfg", "job")
    assert code == 0
    assert out.splitlines()[0] in ("task:", "scale: small")
    assert "gradient:\n  name: full\n" in out
    assert not list(tmp_path.iterdir())


def test_runs_are_named_by_the_choices_that_change_them(call, tmp_path):
    words = [word for word in TINY if not word.startswith("name=")]
    assert call("train", *words, "gradient=one_step")[0] == 0
    assert call("train", *words, "device=cpu")[0] == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(names) == 2
    assert all(name.startswith("sudoku-trm") for name in names)
    assert sum("gradient_one_step" in name for name in names) == 1
    assert not any("device" in name for name in names)


def test_true_and_false_are_words_of_resume_compile_and_graph(call, tmp_path):
    assert call("train", *TINY, "resume=false", "compile=false", "graph=false")[0] == 0
    code, _, err = call("train", *TINY, "resume=false", "steps=2")
    assert code == 2
    assert "exists; " in err
    assert "name=NEW" in err


# ---- the real thing


def started(cwd: Path, *words: str) -> subprocess.CompletedProcess:
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True
    )


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((str(ROOT / "train.py"), "optim.lrr=1"), ("lrr", "--cfg job")),
        (("-m", "eval.solve", "run=nowhere"), ("nowhere", "run=runs/NAME")),
        (("-m", "data.build", "out=x", "task.side=7"), ("task.side=7",)),
    ],
    ids=["train", "solve", "build"],
)
def test_the_programs_refuse_in_one_line(words, said, tmp_path):
    done = started(tmp_path, *words)
    assert_refused((done.returncode, done.stdout, done.stderr), said, tmp_path)


def test_a_python_too_new_for_hydra_gets_one_line(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    with pytest.raises(
        SystemExit, match=r"error: Hydra does not start on Python 3\.14; .* python3\.13 -m venv"
    ):
        importlib.reload(conf)


@pytest.mark.parametrize(
    ("started", "told"),
    [
        ("train.py", "train.py"),
        ("eval/speed/__main__.py", "train.py"),
        ("eval/scaling.py", "train.py"),
        ("eval/data_speed.py", "train.py"),
        ("eval/solve.py", "-m eval.solve"),
        ("eval/think/__main__.py", "-m eval.think"),
    ],
)
def test_the_command_that_prints_all_keys_has_them(monkeypatch, started, told):
    monkeypatch.setattr(sys, "argv", [str(ROOT / started)])
    assert cli.program() == told
