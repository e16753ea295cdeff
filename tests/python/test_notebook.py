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


INTERRUPT = """
import sys, time
from pathlib import Path
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel()
cell = '''
import tuner
sweep = {"study": "mine", "data": {"source": "sklearn/digits"}, "training": {"epochs": 100_000},
         "space": {"learning_rate": {"low": 1e-3, "high": 1.0}}, "search": {"trials": 1}, "baselines": "off"}
def build(params, data):
    import torch
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, data.num_outputs))
study = tuner.run(sweep, model=build, workers=1)
'''
try:
    asked = client.execute(cell)
    told = Path("results/mine/trials.told")
    while not (told.is_file() and told.read_bytes()):
        assert manager.is_alive()
        time.sleep(0.05)
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=300)["content"]
    print(reply["status"], reply.get("ename"), reply.get("evalue"))
    client.execute("print(tuner.open_study('mine').trial(0).state)", reply=True, timeout=300)
    while True:
        message = client.get_iopub_msg(timeout=300)
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            print(message["content"]["text"])
            break
finally:
    client.stop_channels()
    manager.shutdown_kernel()
"""


@pytest.mark.deep
def test_the_stop_button_ends_a_sweep_as_ctrl_c_in_a_shell(tmp_path: Path) -> None:
    pytest.importorskip("jupyter_client", reason="jupyter_client, which starts kernels, is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel, which notebooks run in, is not installed")
    command = [sys.executable, "-c", INTERRUPT]
    found = subprocess.run(
        command, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, timeout=900, capture_output=True, text=True
    )
    assert found.stdout.splitlines() == [
        "error KeyboardInterrupt mine is interrupted, with everything kept; the same call goes on",
        "paused",
        "",
    ]
