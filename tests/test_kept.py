"""Checkpoints of earlier versions load, answer as they did and go on. `tests/keep.py` made them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import train
from conf.run import read_config
from conf.schema import Config, typed
from tests.keep import KEPT, attempt

RUNS = sorted(path.parent for path in KEPT.glob("*/*/config.yaml"))


def test_there_is_one_of_each_model_and_they_are_small():
    assert {run.name for run in RUNS} == {"trm", "hrm"}
    for run in RUNS:
        assert sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) < 200_000


@pytest.mark.parametrize("weights", ["ema", "raw"])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name} {run.name}")
def test_a_kept_checkpoint_gives_the_same_answers(run, weights):
    kept = json.loads((run / "answers.json").read_text())
    made = attempt(run, np.array(kept["inputs"], np.uint8), np.array(kept["labels"], np.uint8), weights)
    assert made.answers.T.tolist() == kept[weights]["answers"]
    assert made.halt_logits == pytest.approx(kept[weights]["halt_logits"], abs=1e-4)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name} {run.name}")
def test_a_kept_run_goes_on_as_it_did(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, Path("runs/kept"))
    train.train(replace(typed(Config, read_config(run)), name="kept"))
    assert "going on from step 42" in capsys.readouterr().out
    losses = json.loads((run / "answers.json").read_text())["losses"]
    lines = [json.loads(line) for line in Path("runs/kept/log.jsonl").read_text().splitlines()]
    found = {str(line["step"]): line["loss"] for line in lines if line["kind"] == "train"}
    assert found == pytest.approx(losses, rel=3e-4)
    assert len(losses) == 4
