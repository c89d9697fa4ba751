"""What earlier versions saved loads, answers as it did and resumes. `tests/keep.py` made it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import train
from conf.schema import Config, typed
from eval.export import share
from eval.load import open_run
from tests.keep import KEPT, attempt
from tinyreason.exported import FORMAT, write
from tinyreason.run.folder import read_config

RUNS = sorted(path.parent for path in KEPT.glob("*/*/config.yaml"))


EXPORTS = sorted(path.parent for path in KEPT.glob("*/*/config.json"))


def assert_same_answers(run: Path, weights: str, kept: dict) -> None:
    inputs, labels = (np.array(kept[name], np.uint8) for name in ("inputs", "labels"))
    made = attempt(run, inputs, labels, weights)
    assert made.answers.tolist() == kept[weights]["answers"]
    assert made.halt_logits == pytest.approx(kept[weights]["halt_logits"], abs=1e-4)


def test_there_is_one_of_each_model_and_they_are_small():
    assert {run.name for run in RUNS} == {"trm", "hrm"}
    assert {export.name for export in EXPORTS} == {"exported"}
    for run in RUNS + EXPORTS:
        assert sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) < 200_000


@pytest.mark.parametrize("weights", ["ema", "raw"])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name} {run.name}")
def test_a_kept_checkpoint_gives_the_same_answers(run, weights):
    kept = json.loads((run / "answers.json").read_text())
    assert_same_answers(run, weights, kept)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name} {run.name}")
def test_a_kept_run_goes_on_as_it_did(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, Path("runs/kept"))
    train.train(replace(typed(Config, read_config(run)), name="kept"))
    assert "resuming from step 42" in capsys.readouterr().out
    losses = json.loads((run / "answers.json").read_text())["losses"]
    lines = [json.loads(line) for line in Path("runs/kept/log.jsonl").read_text().splitlines()]
    found = {str(line["step"]): line["loss"] for line in lines if line["kind"] == "train"}
    assert found == pytest.approx(losses, rel=3e-4)
    assert len(losses) == 4


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.parent.name)
def test_a_kept_export_gives_the_answers_of_the_run_that_it_was_made_of(export, tmp_path):
    kept = json.loads((export.parent / "trm/answers.json").read_text())
    assert_same_answers(export, "ema", kept)
    again, trained = tmp_path / "again", open_run(export)
    write(again, *share(trained))  # as this version shares it
    assert_same_answers(again, "ema", kept)
    assert open_run(again).config == trained.config
    assert json.loads((again / "config.json").read_text())["format"] == FORMAT
