"""Wordings in files: read once, refused by name, and bundled ones that go with known forms of answers."""

import inspect
from pathlib import Path

import pytest
from PIL import Image

from lit_listener.data.records import PreferencePair
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import Grammar, Listwise, PairwisePreference, YesNoComparison
from lit_listener.tasks.pairwise import DEFAULT_SYSTEM
from lit_listener.tasks.wording_file import bundled_wordings, resolved

PAIR = PreferencePair("a cat", Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4)), 0.8, 5, "p7", "p")
SHOWN = ShownPair(PAIR, "a", 0)
TEMPLATE = 'template: "{prompt} {image_0} {image_1}"\n'


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return str(tmp_path / "mine.yaml")

    return write


def words(task: PairwisePreference) -> str:
    return "".join(part.get("text", "[]") for part in task.encode(SHOWN).messages[-1]["content"])


def test_a_file_gives_what_the_options_would(file):
    name = file(TEMPLATE + 'system: null\nlabels: ["A", "B"]\nanswer: Image {label}\nthinks: false\n')
    task = PairwisePreference(file=name)
    assert words(task) == "a cat [] []"
    assert len(task.encode(SHOWN).messages) == 1
    assert task.grammar == Grammar(("A", "B"), "Image {label}", thinks=False)


def test_what_a_file_leaves_out_stays_at_its_default(file):
    task = PairwisePreference(file=file(TEMPLATE))
    assert task.encode(SHOWN).messages[0]["content"][0]["text"] == DEFAULT_SYSTEM
    assert task.grammar == Grammar(("0", "1"))


def test_other_tasks_have_files_too(file):
    assert YesNoComparison(file=file("criteria: Is it red?\n")).labels == ("yes", "no")
    assert Listwise(file=file('labels: ["A", "B", "C"]\n')).max_images == 3
    with pytest.raises(ValueError, match=r"mine.yaml: there is no option 'criteria'; expected some of \['template'"):
        PairwisePreference(file=file("criteria: Is it red?\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "temperature: 1\n",
            r"mine.yaml: there is no option 'temperature'; expected some of \['template', .*'thinks'\]",
        ),
        ("file: other.yaml\n", "mine.yaml: there is no option 'file'"),
        ("- a\n", r"mine.yaml: expected some of the options \['template'.*, got \['a'\]"),
        ("", "mine.yaml: expected some of the options .*, got None"),
        ("a: [", "mine.yaml is no YAML"),
        ("template: 3\n", "template must be text, got 3"),
        ("system: [a]\n", "system must be text"),
        ("continuation: 3\n", "continuation must be text, got 3"),
        ("labels: [0, 1]\n", "write numbers in quotation marks"),
        ("labels: [yes, no]\n", "labels must be two texts or more, got .*True"),
        ("thinks: maybe\n", "thinks must be true or false, got 'maybe'"),
    ],
)
def test_a_file_that_is_no_wording_is_refused_by_name(file, text, message):
    with pytest.raises(ValueError, match=message):
        PairwisePreference(file=file(text))


def test_a_file_stands_alone(file):
    name = file(TEMPLATE)
    with pytest.raises(ValueError, match="system and file are both given, got system='Judge"):
        PairwisePreference(system="Judge.", file=name)
    with pytest.raises(ValueError, match="thinks and file are both given"):
        PairwisePreference(thinks=False, file=name)


def test_null_leaves_an_option_to_the_file(file):
    options = resolved(PairwisePreference, {"file": file(TEMPLATE), "template": None, "system": None})
    assert options["template"] == "{prompt} {image_0} {image_1}"
    assert options["system"] == resolved(PairwisePreference, {})["system"]  # of which the file says nothing


def test_no_such_file():
    with pytest.raises(FileNotFoundError, match=r"no wording 'nope', .* bundled ones: \['r1_image_labels', 'unif"):
        PairwisePreference(file="nope")


def test_options_are_resolved_into_the_content(file):
    options = resolved(PairwisePreference, {"file": file(TEMPLATE), "labels": ["0", "1"]})
    assert options["template"] == "{prompt} {image_0} {image_1}"
    assert "file" not in options
    assert set(options) == set(inspect.signature(PairwisePreference).parameters) - {"file"}
    assert words(PairwisePreference(**options)) == "a cat [] []"


# ---- the bundled ones ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", bundled_wordings())
def test_a_bundled_wording_can_be_asked_and_answered(name):
    task = PairwisePreference(file=name)
    assert "{{" not in words(task)
    for answer in (0, 1):
        reply = task.grammar.reply("so", answer)
        transcript = task.parse([reply.encode()], truncated=False)
        assert (transcript.outcome, transcript.answer) == ("ok", answer)
        assert task.grammar.spellings[answer] in words(task)  # it is told how to answer
    path = Path(inspect.getfile(PairwisePreference)).parent / "wordings" / f"{name}.yaml"
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_the_answer_of_unified_reward_think():
    task = PairwisePreference(file="unified_reward_think")
    tokens = [b"<think>\n1. Semantic consistency: Image 1 (9/10)", b"\n</think>\n<", b"answer", b">", b"Image", b" 1"]
    transcript = task.parse([*tokens, b" is", b" better", b"</", b"answer", b">"], truncated=False)
    assert (transcript.outcome, transcript.answer, transcript.answer_token) == ("ok", 0, 5)
    assert task.retell_continuation("so").endswith("My own answer: <answer>Image ")


def test_the_bundled_names_are_told_in_the_help():
    for name in bundled_wordings():
        assert name in (PairwisePreference.__init__.__doc__ or "")
