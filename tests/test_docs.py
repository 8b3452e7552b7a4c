"""The documentation: what it names is there, and the site shows what it leads to."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from mkdocs.exceptions import PluginError

from docs import hooks
from lit_listener.__main__ import main

ROOT = hooks.ROOT
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


def sources(notebook: str) -> str:
    """A notebook's cells as a page, without their outputs."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(notebook)["cells"]]
    return "\n\n".join(text if kind == "markdown" else f"~~~~~~\n{text}\n~~~~~~" for kind, text in cells)


TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES} | {
    page.relative_to(ROOT).as_posix(): sources(page.read_text(encoding="utf-8")) for page in NOTEBOOKS
}
PLACEHOLDERS = "<…*{"
"""What makes a path no file's: runs/<run>, configs/hardware/…, docs/*.md."""


def named(pattern: str) -> list[tuple[str, str]]:
    """What a pattern finds in each page, once."""
    found = {(page, match) for page, text in TEXTS.items() for match in re.findall(pattern, text)}
    return sorted(found)


def test_tests_that_are_named_are_there():
    tests = named(r"tests/[\w/]+\.py::\w+")
    assert len(tests) > 30
    missing = []
    for page, test in tests:
        path, name = test.split("::")
        if not (ROOT / path).is_file() or f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8"):
            missing.append((page, test))
    assert missing == []


def test_files_that_are_named_are_there():
    paths = named(r"(?<![\w/.])((?:configs|tests|lit_listener|benchmarks|docs|notebooks)/[\w./{}*…<>-]*[\w>*…}])")
    assert len(paths) > 50
    files = [(page, path) for page, path in paths if not any(mark in path for mark in PLACEHOLDERS)]
    assert [(page, path) for page, path in files if not (ROOT / path).exists()] == []
    patterns = [(page, path) for page, path in paths if "*" in path]
    assert [(page, path) for page, path in patterns if not any(ROOT.glob(path))] == []


def test_links_lead_to_files():
    broken = []
    for page, text in TEXTS.items():
        for link in hooks._LINK.finditer(hooks._FENCED.sub("", text)):
            target = hooks._target(page, link[2])
            if not (ROOT / target).exists():
                broken.append((page, link[2]))
    assert broken == []


def test_what_the_readme_tells_of_the_study_stands_in_its_document():
    section = TEXTS["README.md"].split("## What the listener changes\n")[1].split("\n## ")[0].replace("**", "")
    told = section.partition("Read it for what it is.")[0].replace(" points", "")
    figures = re.findall(r"[\d.]+%? \[[^\]]*\d\]", told)
    assert len(figures) > 30
    document = TEXTS["docs/reproduction.md"].replace(" points", "")
    assert [figure for figure in figures if figure not in document] == []
    counts = re.findall(r"\((\d+) of (\d+)\)", document)
    (verdicts,) = re.findall(r"(\d+) hold, (\d+) do not, and (\d+) cannot be told", told)
    assert [count for count, _ in counts] == list(verdicts)
    assert {of for _, of in counts} == set(re.findall(r"(\d+)\s+claims", told))


def test_commands_that_are_named_are_there(capsys):
    main(["--help"])
    commands = set(re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE))
    assert {"fit", "serve"} <= commands
    assert [found for found in named(r"python -m lit_listener ([a-z]\w*)") if found[1] not in commands] == []


def test_classes_and_functions_that_are_named_are_there():
    def resolves(name: str) -> bool:  # by reading: importing all of the package takes seconds
        parts = name.split(".")
        files = [(cut, ROOT.joinpath(*parts[:cut])) for cut in range(len(parts), 0, -1)]
        places = [(cut, file) for cut, path in files for file in (path.with_suffix(".py"), path / "__init__.py")]
        cut, file = next((cut, file) for cut, file in places if file.is_file())
        text = file.read_text(encoding="utf-8")
        return all(re.search(rf"\b{part}\b", text) for part in parts[cut:])

    names = named(r"(?<![\w./])(lit_listener(?:\.[A-Za-z_]\w*)+)")
    assert len(names) > 100
    unknown = {name for _, name in names} - {name for _, name in names if resolves(name)}
    assert [(page, name) for page, name in names if name in unknown] == []


def test_every_page_is_in_the_navigation_once():
    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        inner = entry.values() if isinstance(entry, dict) else entry
        return [page for each in inner for page in pages(each)]

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    there = [page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/**/*.md")]
    assert sorted(listed) == sorted(there)


def built(markdown: str, src_uri: str = "faq.md") -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=src_uri))
    return hooks.on_page_markdown(markdown, page, config=None, files=None)


def test_a_link_out_of_the_docs_leads_to_a_page_that_shows_the_file():
    assert built("[a](../Makefile)") == "[a](source/Makefile.md)"
    assert built("[a](../README.md#judge), [b](grpo.md)") == "[a](source/README.md#judge), [b](grpo.md)"
    assert built("[a](../../LICENSE)", "results/x.md") == "[a](../source/LICENSE.md)"
    # from a page that shows a file of the repository, back into the docs, and an image within a link
    assert built("[![a](docs/a.png)](docs/grpo.md)", "source/README.md") == "[![a](../a.png)](../grpo.md)"
    assert built("[a](https://example.org/x), [b](#c)") == "[a](https://example.org/x), [b](#c)"
    assert built("[a](../../Makefile)", "source/notebooks/a.ipynb.md") == "[a](../../Makefile.md)"


def test_a_file_that_is_shown_stays_as_it_is():
    text = "# [a](../gone.md) `tests/test_docs.py::test_gone`"
    assert built(text, "source/configs/shapes/grpo.yaml.md") == text
    assert built("[a](docs/grpo.md)", "source/README.md") == "[a](../grpo.md)"


def test_brackets_in_code_are_no_links():
    code = "```python\nx[0](../gone)\n```"
    assert built(f"{code}\n[a](../Makefile)\n{code}\n") == f"{code}\n[a](source/Makefile.md)\n{code}\n"
    assert hooks._outside("docs/x.md", code) == set()


def test_every_file_that_a_page_leads_to_is_shown(tmp_path, monkeypatch):
    for name, text in {"README.md": "[a](b.py)", "b.py": "pass", "c.py": "pass"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(hooks, "ROOT", tmp_path)
    assert hooks._outside("docs/x.md", "[a](../README.md), [b](y.md) and `z`") == {"README.md"}
    assert hooks._outside("README.md", hooks._as_page("README.md")) == {"b.py"}
    with pytest.raises(PluginError, match=r"docs/x\.md leads to gone\.py, which is no file"):
        hooks._outside("docs/x.md", "[a](../gone.py)")


def test_code_is_as_it_is_in_the_source():
    code = built("<!-- code: lit_listener.objective.soft_scores.both_orders_preference -->")
    assert "def both_orders_preference(p1_ab: Tensor, p1_ba: Tensor) -> Tensor:" in code
    assert "return 0.5 * ((1.0 - p1_ab) + p1_ba)" in code
    assert "Average out" not in code  # the docstring
    part = built('<!-- code: lit_listener.objective.rewards.shaped_reward, from "listener = " to "return" -->')
    lines = part.splitlines()[1:-1]
    assert lines[0] == "listener = listener_reward(p_correct, readable)"
    assert lines[1].startswith("return format.to(")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("markdown", "told"),
    [
        ("<!-- code: lit_listener.nowhere.f -->", "there is no such module"),
        ("<!-- code: lit_listener.objective.rewards.nothing -->", "there is no nothing"),
        ('<!-- code: lit_listener.objective.rewards.shaped_reward, from "a b" to "c" -->', "no lines from 'a b' to"),
        ("`tests/test_docs.py::test_nothing`", "there is no such test"),
    ],
)
def test_what_is_not_there_fails_the_build(markdown, told):
    with pytest.raises(PluginError, match=told):
        built(markdown)


def test_a_test_is_linked_to_its_line():
    lines = (ROOT / "tests/test_docs.py").read_text(encoding="utf-8").splitlines()
    line = lines.index("def sources(notebook: str) -> str:") + 1
    linked = built("`tests/test_docs.py::sources`")
    assert linked.startswith(f'<a href="source/tests/test_docs.py.html#__codelineno-0-{line}">')


def test_a_notebook_is_shown_with_its_outputs():
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text."]},
        {
            "cell_type": "code",
            "source": ["1 + 1"],
            "outputs": [{"text": ["\x1b[1m2\x1b[0m"]}, {"data": {"image/png": "AA==\n", "text/plain": "<Figure>"}}],
        },
    ]
    assert hooks._notebook({"cells": cells}) == (
        "# Title\nText.\n\n~~~~~~ python\n1 + 1\n~~~~~~\n\n~~~~~~ text\n2\n~~~~~~\n\n![](data:image/png;base64,AA==)"
    )


@pytest.mark.parametrize(
    "tag", ['<script src="https://a.org/x.js">', "<link rel=x href=//a.org/x.css>", '<img src="http://a/">']
)
def test_a_page_that_would_fetch_something_fails_the_build(tag):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="faq.md"))
    local = '<script src="x.js"></script><a href="https://a.org">link</a><img src="data:image/png;base64,//">'
    assert hooks.on_post_page(local, page, config=None) == local
    with pytest.raises(PluginError, match=r"faq\.md would fetch from the network"):
        hooks.on_post_page(local + tag, page, config=None)
