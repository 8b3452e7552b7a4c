"""What the built site adds to the pages, which are written to be read on GitHub as well.

- A link to a file outside of docs/ (a config, a test, the code) leads to a page that shows the file.
- ``<!-- code: lit_listener.objective.rewards.shaped_reward -->`` becomes that function as it is in the source; with
  ``, from "…" to "…"`` after the name, its lines from the first that holds the one text to the next with the other.
- A test that is named as ``tests/….py::test_…`` is linked to its lines.

A file, a function or a test that is not there fails the build, and so does a page that would fetch something.
"""

import ast
import json
import posixpath
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

_LINK = re.compile(r"\[((?:\[[^\]]*\]|[^\[\]])*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_CODE = re.compile(r'<!-- code: ([\w.]+)(?:, from "([^"]+)" to "([^"]+)")? -->')
_FENCED = re.compile(r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_FETCHED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")
_WRITTEN = (".md", ".ipynb")
"""Files that are pages themselves, with links of their own."""
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".json": "json", ".sh": "bash"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file outside of docs/ that a page leads to, and for those that these lead to."""
    pages = [(f"docs/{file.src_uri}", file.content_string) for file in files.documentation_pages()]
    shown: set[str] = set()
    while pages:
        path, text = pages.pop()
        for target in _outside(path, text) - shown:
            shown.add(target)
            content = _as_page(target)
            files.append(File.generated(config, _address(target), content=content))
            if target.endswith(_WRITTEN):
                pages.append((target, content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in code, and turn links out of docs/ to the pages that show what they lead to."""
    del config, files
    path = _path_of(page.file.src_uri)
    if page.file.src_uri.startswith("source/") and not path.endswith(_WRITTEN):
        return markdown  # a file as it is
    markdown = _CODE.sub(lambda found: _function(*found.groups()), markdown)
    markdown = _TEST.sub(lambda found: _test_link(page.file.src_uri, found[1], found[2]), markdown)

    def turned(found: re.Match[str]) -> str:
        target = _target(path, found[2])
        address = target.removeprefix("docs/") if target.startswith("docs/") else _address(target)
        return f"[{_LINK.sub(turned, found[1])}]({_relative(page.file.src_uri, address)}{found[3] or ''})"

    return _beside_code(lambda text: _LINK.sub(turned, text), markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse what a reader's browser would fetch from elsewhere."""
    del config
    if found := _FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} would fetch from the network when it is read: {found[0]}")
    return output


def _beside_code(change: Callable[[str], str], markdown: str) -> str:
    """Change what stands outside of fenced code, where brackets are no links."""
    parts, end = [], 0
    for fenced in _FENCED.finditer(markdown):
        parts += [change(markdown[end : fenced.start()]), fenced[0]]
        end = fenced.end()
    return "".join([*parts, change(markdown[end:])])


def _path_of(src_uri: str) -> str:
    """Where a page's text stands in the repository."""
    if not src_uri.startswith("source/"):
        return f"docs/{src_uri}"
    path = src_uri.removeprefix("source/")
    return path if (ROOT / path).is_file() else path.removesuffix(".md")  # of other files the page is named x.py.md


def _target(path: str, link: str) -> str:
    """What a link of a file leads to, as a path in the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _relative(src_uri: str, address: str) -> str:
    return posixpath.relpath(address, posixpath.dirname(src_uri) or ".")


def _address(target: str) -> str:
    """The page that shows a file."""
    return f"source/{target}" if target.endswith(".md") else f"source/{target}.md"


def _outside(path: str, text: str) -> set[str]:
    """The files outside of docs/ that a text leads to."""
    text = _FENCED.sub("", text)
    found = {_target(path, link[2]) for link in _LINK.finditer(text)} | {test[1] for test in _TEST.finditer(text)}
    found = {target for target in found if not target.startswith("docs/")}
    for target in found:
        if not (ROOT / target).is_file():
            raise PluginError(f"{path} leads to {target}, which is no file of the repository: correct the link")
    return found


def _as_page(target: str) -> str:
    """A file of the repository as a page, which the search leaves out."""
    text = (ROOT / target).read_text(encoding="utf-8")
    front = "---\nsearch: {exclude: true}\n---\n"
    if target.endswith(".md"):
        return front + text
    if target.endswith(".ipynb"):
        return f"{front}{_notebook(json.loads(text))}"
    return f"{front}# {target}\n\n{_fence(text, _LANGUAGES.get(Path(target).suffix, 'text'), 1)}\n"


def _notebook(notebook: dict) -> str:
    """A notebook's cells with the outputs that were kept."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else _fence(source, "python"))
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![](data:image/png;base64,{''.join(data['image/png']).replace(chr(10), '')})")
            elif text := "".join(output.get("text", data.get("text/plain", ""))):
                parts.append(_fence(_COLOURS.sub("", text), "text"))
    return "\n\n".join(parts)


def _fence(text: str, language: str, first: int | None = None) -> str:
    numbers = f' linenums="{first}"' if first else ""
    return f"~~~~~~ {language}{numbers}\n{text.rstrip()}\n~~~~~~"


def _function(name: str, start: str | None, end: str | None) -> str:
    """A function or method without its docstring, or some lines of it, as it is in the source now."""
    parts = name.split(".")
    module = max((n for n in range(1, len(parts)) if _module_file(parts[:n]).is_file()), default=0)
    if not module:
        raise PluginError(f"<!-- code: {name} -->: there is no such module")
    file = _module_file(parts[:module])
    text = file.read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in parts[module:]:
        node = _named(node, part, f"<!-- code: {name} -->")
    kept = range(node.lineno, node.end_lineno + 1)
    said = node.body[0] if ast.get_docstring(node) else None
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), 1) if n in kept and not _within(n, said)]
    if start:
        numbered = _between(numbered, start, end, name)
    code = textwrap.dedent("\n".join(line for _, line in numbered))
    title = f"{file.relative_to(ROOT).as_posix()}, from line {numbered[0][0]}"
    return f'~~~~~~ {{.python title="{title}"}}\n{code}\n~~~~~~'


def _within(line: int, node: ast.AST | None) -> bool:
    return node is not None and node.lineno <= line <= node.end_lineno


def _between(numbered: list[tuple[int, str]], start: str, end: str, name: str) -> list[tuple[int, str]]:
    """The lines from the first that holds one text to the next that holds another."""
    first = next((place for place, (_, line) in enumerate(numbered) if start in line), None)
    last = next(
        (place for place, (_, line) in enumerate(numbered) if first is not None and place >= first and end in line),
        None,
    )
    if last is None:
        raise PluginError(f"<!-- code: {name} -->: no lines from {start!r} to {end!r}")
    return numbered[first : last + 1]


def _module_file(parts: list[str]) -> Path:
    return ROOT.joinpath(*parts).with_suffix(".py")


def _named(node: ast.AST, name: str, what: str) -> ast.AST:
    kinds = (ast.FunctionDef, ast.ClassDef)
    for each in node.body:
        if isinstance(each, kinds) and each.name == name:
            return each
    raise PluginError(f"{what}: there is no {name}")


def _test_link(src_uri: str, path: str, name: str) -> str:
    found = re.search(rf"^ *def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise PluginError(f"{src_uri} names {path}::{name}, and there is no such test: correct the name")
    line = found.string.count("\n", 0, found.start()) + 1
    page = _relative(src_uri, _address(path)).removesuffix(".md") + ".html"
    return f'<a href="{page}#__codelineno-0-{line}"><code>{path}::{name}</code></a>'  # mkdocs knows no lines of code
