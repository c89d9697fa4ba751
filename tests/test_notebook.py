"""The notebook runs from top to bottom, as a reader would run it."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"


@pytest.mark.hostile
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    """In a folder of its own, so that its run is not one that is there already."""
    for part in ROOT.iterdir():
        if part.name not in ("runs", ".git"):
            (tmp_path / part.name).symlink_to(part)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    printed = [
        "".join(o.get("text", "") for o in cell.get("outputs", [])) for cell in client.nb.cells
    ]
    whole = "\n".join(printed)
    assert "answers keep the rules" in whole
    assert "error:" not in whole
    assert (tmp_path / "runs" / "quickstart" / "result.json").is_file()
    assert (tmp_path / "runs" / "quickstart-report" / "report.html").is_file()


def test_the_notebook_is_kept_without_what_it_printed():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
