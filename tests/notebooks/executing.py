"""Executes a notebook as a reader of a fresh clone would, with small numbers in its parameters cell."""

import re
from collections.abc import Mapping
from pathlib import Path

import nbformat
from ipykernel.kernelspec import write_kernel_spec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KERNEL = "lit_listener_tests"
TIMEOUT = 3600
"""Seconds that one cell may take."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CHECK = 'assert _exit_code == 0, f"the command above exited with {_exit_code}"'


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook, checked against the format."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def parameters_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The one cell that says how large everything is."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1, f"expected one cell with the tag parameters, got {len(tagged)}"
    return tagged[0]


def with_sizes(source: str, sizes: Mapping[str, object]) -> str:
    """A parameters cell with other values; what stands behind them as a comment stays."""
    for name, value in sizes.items():
        source, found = re.subn(rf"^{name} = [^#\n]*?(?=\s*(#|$))", f"{name} = {value!r}", source, flags=re.M)
        assert found == 1, f"expected one line '{name} = …' in the parameters cell, got {found} in\n{source}"
    return source


def with_checked_commands(source: str) -> str:
    """A cell in which a command of the shell that fails fails the cell, as it does not by itself."""
    lines, command = list[str](), False
    for line in source.splitlines():
        lines.append(line)
        command = command or line.startswith("!")
        if command and not line.endswith("\\"):
            lines.append(_CHECK)
            command = False
    return "\n".join(lines)


def install_kernel(jupyter_path: Path) -> None:
    """Write a kernel that is this very interpreter, for whoever has the folder as JUPYTER_PATH."""
    write_kernel_spec(jupyter_path / "kernels" / KERNEL)


def execute(path: Path, sizes: Mapping[str, object], clone: Path) -> nbformat.NotebookNode:
    """Run a notebook from the notebooks folder of a clone.

    Args:
        path: the notebook, which is not written to.
        sizes: values by name that the parameters cell gets in place of its own.
        clone: folder that holds what the notebook reads: configs and notebooks.

    Raises:
        AssertionError: a cell failed; the message has the cell and its traceback.
    """
    notebook = read(path)
    parameters = parameters_cell(notebook)
    parameters.source = with_sizes(parameters.source, sizes)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = with_checked_commands(cell.source)
    here = {"metadata": {"path": str(clone / "notebooks")}}
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name=KERNEL, resources=here, record_timing=False, coalesce_streams=True
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise AssertionError(f"{path.name}: a cell failed\n{_COLOURS.sub('', str(error))}") from None
    return notebook
