"""What the tests counted, printed at the end of a run: the figures of docs/reliability.md."""

import resource
from collections import Counter
from collections.abc import Callable

import pytest
import torch

from tinyreason.trainer import Trainer

COUNTED = pytest.StashKey[Counter]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread a process: two share two cores, and small tensors gain nothing by more."""
    torch.set_num_threads(1)


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Callable[..., None]:
    """counted("kills survived", 10) once they have been; the same words add up."""
    total = request.config.stash.setdefault(COUNTED, Counter())

    def count(what: str, times: int = 1) -> None:
        total[what] += times

    return count


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of several hands what it counted to the one that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counted"] = dict(session.config.stash.get(COUNTED, {}))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """Add up what the processes counted."""
    total = node.config.stash.setdefault(COUNTED, Counter())
    total.update(getattr(node, "workeroutput", {}).get("counted", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if total := config.stash.get(COUNTED, None):
        terminalreporter.section("counted")
        for what, times in sorted(total.items()):
            terminalreporter.write_line(f"{times:>7,}  {what}")


@pytest.fixture(autouse=True)
def no_limit_left_behind():
    """A limit of the file size that outlives its test would cut the report of all others."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE), Trainer.step
    yield
    assert before == (resource.getrlimit(resource.RLIMIT_FSIZE), Trainer.step)
