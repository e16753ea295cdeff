"""The notebook among the examples runs from its first cell to its last, and shows what its page says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=600).execute()
nbformat.write(notebook, "executed.ipynb")
"""


def test_the_notebook_is_kept_without_its_outputs() -> None:
    assert [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell.get("outputs")] == []


@pytest.mark.deep
def test_the_notebook_runs_and_shows_progress_a_table_a_curve_and_predictions(tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="nbclient, which executes notebooks, is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel, which notebooks run in, is not installed")
    command = [sys.executable, "-c", EXECUTE, str(NOTEBOOK)]
    subprocess.run(command, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, timeout=900)
    cells = json.loads((tmp_path / "executed.ipynb").read_text())["cells"]
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    data = [output["data"] for output in shown if "data" in output]
    pages = ["".join(one.get("text/html", "")) for one in data]
    assert any("<progress" in page and "8 of 8 trials" in page for page in pages)
    assert any("<b>wine</b>: finished" in page for page in pages)
    assert any("image/png" in one for one in data)
    said = {output["name"]: "".join(output["text"]) for output in shown if output["output_type"] == "stream"}
    assert said.pop("stdout").startswith("Best: trial")
    assert said == {}
