"""Executes notebooks at full size and keeps their outputs: ``python -m tests.notebooks.refresh NOTEBOOK …``.

``jupyter execute --inplace`` would leave the time of every cell in the file, and go on behind a command that failed.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat

from tests.notebooks.executing import ROOT, execute, install_kernel, read


def with_outputs(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook as it is, with the outputs of its executed copy."""
    for cell, done in zip(notebook.cells, executed.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = done.execution_count, done.outputs
            for output in cell.outputs:
                if output.output_type == "stream":  # commands run in a terminal, which ends lines as terminals do
                    output.text = output.text.replace("\r\n", "\n")
    return notebook


def refresh(path: Path) -> None:
    """Execute a notebook in the repository and write its outputs into it; runs/ gets what it trains.

    Raises:
        AssertionError: a cell failed; the file stays as it was.
    """
    executed = execute(path, {}, ROOT)
    nbformat.write(with_outputs(read(path), executed), path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        install_kernel(Path(folder))
        os.environ["JUPYTER_PATH"] = folder
        for name in sys.argv[1:]:
            refresh(Path(name))
