"""The README's commands are what CI runs and what the project can do: the text itself."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
GROUPS = "task|model|gradient|depth|supervision|halting|optim|scale|experiment|logger"
COMMANDS = [
    line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.strip()
]


def test_the_first_two_blocks_install_and_run() -> None:
    train, test = BLOCKS[:2]
    assert "pip install -e . -c constraints.txt" in train
    assert train.strip().endswith("python train.py task=sudoku model=trm")
    assert "pip install -e '.[dev]' -c constraints.txt" in test
    assert test.strip().endswith("python -m pytest")


def test_ci_runs_the_second_block_as_it_stands() -> None:
    code = (ROOT / ".ci" / "block").read_text()
    shown = subprocess.run(
        ["bash", ".ci/block", "2"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == BLOCKS[1].strip(), code


@pytest.mark.parametrize("command", [c for c in COMMANDS if "train.py" in c or "python -m" in c])
def test_every_command_names_things_that_exist(command: str) -> None:
    for word in re.findall(r"python (?:-m )?([\w./]+)", command):
        path = ROOT / (word if word.endswith(".py") else word.replace(".", "/") + ".py")
        assert (
            path.exists()
            or (path.with_suffix("") / "__main__.py").exists()
            or word in ("pytest", "venv")
        ), command
    for group, choice in re.findall(rf"\b({GROUPS})=([\w]+)", command):
        assert (ROOT / "conf" / group / f"{choice}.yaml").exists(), command


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)", README))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
