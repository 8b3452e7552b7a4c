"""Every notebook runs from a fresh clone, and is kept as readers of the repository should see it."""

import ast
import os
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebooks.executing import (
    NOTEBOOKS,
    ROOT,
    execute,
    install_kernel,
    parameters_cell,
    read,
    with_checked_commands,
    with_sizes,
)
from tests.notebooks.refresh import with_outputs

SIZES: dict[str, dict[str, object]] = {
    "01_quickstart": {"STEPS": 2, "TEST_PAIRS": 8, "STEPS_IN_PYTHON": 1},
    "02_inspect_rewards": {"GROUP": 3, "PAIRS": 2},
    "03_listener_or_not": {"STEPS": 1, "TEST_PAIRS": 8},
    "04_your_own_data": {"PAIRS": 60, "STEPS": 1},
    "05_qlora_7b": {"STEPS": 1, "PAIRS": 8, "LAYERS": 2, "VISION_LAYERS": 2},
    "06_reward_for_diffusion": {"PROMPTS": 3, "SAMPLES": (1, 10)},
}
"""For each notebook what its parameters are in the tests, so small that it takes seconds."""
LARGEST = 300_000
"""Bytes of a notebook file."""
LONGEST = 25
"""Lines of a code cell."""
LONGEST_FUNCTION = 5
"""Lines of a function that a notebook defines for itself; a longer one belongs into the package."""
MACHINE = re.compile(r"/(home|root|tmp|work|Users|mnt|opt|private)/|[A-Z]:\\\\|\.venv|site-packages")
"""Marks of the machine that a notebook was executed on."""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def python_of(source: str) -> ast.Module:
    """A cell without what only IPython reads."""
    joined = source.replace("\\\n", " ")
    return ast.parse(
        "\n".join("pass" if line.lstrip().startswith(("!", "%")) else line for line in joined.splitlines())
    )


def shown_texts(cell: nbformat.NotebookNode) -> list[str]:
    """All that a cell's outputs hold as text: pictures are left out."""
    texts = list[str]()
    for output in cell.outputs:
        bundle: dict[str, Any] = output.get("data", {})
        texts += [str(content) for kind, content in bundle.items() if not kind.startswith("image/")]
        texts.append(output.get("text", ""))
    return texts


# ---- they run --------------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A folder with what a clone has and notebooks read; the kernel's package is the one that is tested."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "notebooks").mkdir()
    install_kernel(tmp_path / "jupyter")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    return folder


@pytest.mark.slow
@every_notebook
def test_it_runs(path: Path, clone: Path) -> None:
    executed = execute(path, SIZES[path.stem], clone)
    assert all(cell.execution_count for cell in code_cells(executed))
    assert sorted(each.name for each in clone.iterdir() if each.name != "runs") == ["configs", "notebooks"]


@pytest.mark.slow
def test_a_cell_that_fails_is_told_with_its_traceback(tmp_path: Path, clone: Path) -> None:
    cells = [
        nbformat.v4.new_code_cell("N = 3", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("!exit $N"),
    ]
    path = tmp_path / "failing.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    execute(path, {"N": 0}, clone)
    with pytest.raises(AssertionError, match=r"failing.ipynb: a cell failed[\s\S]*!exit \$N[\s\S]*exited with 3"):
        execute(path, {}, clone)


# ---- they are kept as they should be seen ----------------------------------------------------------------------------


def test_each_has_sizes_for_the_tests_and_a_line_in_the_readme() -> None:
    names = [path.stem for path in NOTEBOOKS]
    assert sorted(SIZES) == names
    readme = (ROOT / "notebooks" / "README.md").read_text()
    assert [f"{name}.ipynb" for name in names] == re.findall(r"^\| \[\w+\]\((\w+\.ipynb)\)", readme, re.M)


@every_notebook
def test_its_sizes_stand_in_one_cell_at_the_top(path: Path) -> None:
    notebook = read(path)
    parameters = parameters_cell(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    assert re.search(r"two (CPU )?cores", notebook.cells[0].source), (
        "the first cell says how long it takes on two cores"
    )
    assert parameters in notebook.cells[1:4]
    kinds = {type(statement) for statement in python_of(parameters.source).body}
    assert kinds == {ast.Assign}
    with_sizes(parameters.source, SIZES[path.stem])


@every_notebook
def test_it_defines_nothing_that_the_package_should(path: Path) -> None:
    for cell in code_cells(read(path)):
        assert len(cell.source.splitlines()) <= LONGEST, f"a long cell:\n{cell.source}"
        for node in ast.walk(python_of(cell.source)):
            assert not isinstance(node, ast.ClassDef), f"a class:\n{cell.source}"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert lines <= LONGEST_FUNCTION, f"a function of {lines} lines:\n{cell.source}"


@every_notebook
def test_it_is_kept_with_the_outputs_of_one_whole_run(path: Path) -> None:
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert all(output.output_type != "error" for output in cell.outputs), f"an error:\n{cell.source}"
        assert all(output.get("name") != "stderr" for output in cell.outputs), f"error output:\n{cell.source}"
    assert any(cell.outputs for cell in cells)
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert path.stat().st_size < LARGEST


@every_notebook
def test_nothing_in_it_tells_of_the_machine_it_was_made_on(path: Path) -> None:
    notebook = read(path)
    for cell in notebook.cells:
        texts = [cell.source, *(shown_texts(cell) if cell.cell_type == "code" else [])]
        found = [match for text in texts if (match := MACHINE.search(text))]
        assert not found, f"{found[0]} in or under\n{cell.source}"
        assert set(cell.metadata) <= {"tags"}, f"metadata {dict(cell.metadata)} of\n{cell.source}"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


# ---- the harness -----------------------------------------------------------------------------------------------------


def test_sizes_take_the_place_of_values_and_comments_stay() -> None:
    source = "STEPS = 120  # optimizer steps\nSIZES = (1, 2)\nSTEPS_MORE = 3"
    assert with_sizes(source, {"STEPS": 2, "SIZES": (1,)}) == (
        "STEPS = 2  # optimizer steps\nSIZES = (1,)\nSTEPS_MORE = 3"
    )
    with pytest.raises(AssertionError, match="expected one line 'SIZE = …' in the parameters cell, got 0"):
        with_sizes(source, {"SIZE": 1})


def test_every_command_is_checked_and_only_commands_are() -> None:
    source = "x = 1\n!one \\\n  more \\\n  last\ny = (1 \\\n  + 2)\n!two\n!three"
    lines = with_checked_commands(source).splitlines()
    checked = [lines[place - 1] for place, line in enumerate(lines) if line.startswith("assert _exit_code")]
    assert checked == ["  last", "!two", "!three"]


def test_outputs_are_taken_over_and_nothing_else() -> None:
    told = nbformat.v4.new_output("stream", name="stdout", text="one\r\ntwo\r\n")
    executed = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell("!one\nassert …", execution_count=1, outputs=[told], metadata={"execution": {}}),
    ]
    own = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("!one")]
    kept = with_outputs(nbformat.v4.new_notebook(cells=own), nbformat.v4.new_notebook(cells=executed)).cells[1]
    assert (kept.source, kept.metadata, kept.execution_count) == ("!one", {}, 1)
    assert [output.text for output in kept.outputs] == ["one\ntwo\n"]
