"""docs/notebook.ipynb runs, and keeps its outputs."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
MAX_BYTES = 150_000


def kinds_of_output(notebook):
    """Return the kinds of the results of each code cell, without what a progress bar leaves."""
    return [
        [
            sorted(output.get("data", {}))
            for output in cell.outputs
            if output.output_type == "execute_result"
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_the_notebook_runs_and_keeps_its_outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    kept = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, resources=resources).execute()
    assert kinds_of_output(notebook) == kinds_of_output(kept)
    for each in (notebook, kept):
        streams = [output for cell in each.cells for output in cell.get("outputs", [])]
        assert not [output for output in streams if output.output_type == "stream"]
        text = "".join(str(output.get("data", {}).get("text/plain")) for output in streams)
        assert "visits version 1" in text
        assert "Warning" not in text
    assert NOTEBOOK.stat().st_size < MAX_BYTES
