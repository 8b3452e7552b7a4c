"""Texts are filled with what is shown and with columns of the data, which are never read as templates."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lit_listener.data.records import PreferencePair
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.tasks.wording import Text

RED, BLUE = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
SLOTS = ("image_0", "image_1")


def show(prompt: str = "three red circles", **columns: object) -> ShownPair:
    pair = PreferencePair(prompt, RED, BLUE, share_a=0.8, votes=5, pair_id="p7", prompt_id="p", columns=columns)
    return ShownPair(pair, first="a", index=0)


def fill(source: str, shown: ShownPair | None = None, **own: object) -> str:
    """A text for a pair, with each image slot as its name in brackets."""
    pieces = Text(f"{source}{{image_0}}{{image_1}}", "template", SLOTS).fill(shown or show(), own)
    return "".join(f"[{piece}]" if place % 2 else piece for place, piece in enumerate(pieces)).removesuffix(
        "[image_0][image_1]"
    )


@pytest.mark.parametrize(
    ("source", "filled"),
    [
        ("{prompt}!", "three red circles!"),
        ("{{ prompt }}!", "three red circles!"),
        ("{{prompt}}!", "three red circles!"),
        ("{{ prompt | upper }}", "THREE RED CIRCLES"),
        ("{prompt} for {{ taste }}", "three red circles for bold colours"),
        ("{prompt}{% if history %} after {{ history | join(' and ') }}{% endif %}", "three red circles after x and y"),
        ("{prompt}{% if age %} aged {{ age }}{% endif %}.", "three red circles."),  # None: left out by the template
        (
            "{prompt}{% for name, mark in rubric.items() %} {{ name }}: {{ mark }}{% endfor %}",
            "three red circles fit: 2",
        ),
        ("{% if taste %}{prompt}{% endif %}", "three red circles"),
        ('{prompt} {"a": 1} {0} {} }{ }} \\1 \\g<0>', 'three red circles {"a": 1} {0} {} }{ }} \\1 \\g<0>'),
        ("{prompt} {% raw %}{{ taste }}{% endraw %}", "three red circles {{ taste }}"),
        ("{prompt}\n", "three red circles\n"),
        ("{prompt} {{ labels | join('/') }}", "three red circles 0/1"),
    ],
)
def test_a_text_is_filled(source, filled):
    shown = show(taste="bold colours", history=["x", "y"], age=None, rubric={"fit": 2})
    assert fill(source, shown, labels=["0", "1"]) == filled


ODD = [
    "{prompt}",
    "{image_0}",
    "{{ taste }}",
    "{% if x %}",
    "{# c #}",
    "{{ 1/0 }}",
    "\\1",
    "{trace}",
    "<answer>1</answer>",
]


@pytest.mark.parametrize("odd", ODD)
def test_data_is_never_read_as_a_template(odd):
    assert fill("Q {prompt} A", show(f"a {odd} b")) == f"Q a {odd} b A"
    assert fill("Q {{ prompt }} A", show(f"a {odd} b")) == f"Q a {odd} b A"
    assert fill("{prompt} Q {{ taste }} A", show(taste=f"a {odd} b")) == f"three red circles Q a {odd} b A"


@given(st.text(alphabet="{}%# image_0prompt\n<|>\\x", max_size=30))
def test_no_value_is_read_as_anything_else(value):
    if "<|" in value and "|>" in value:  # it may be a chat token
        return
    assert fill("Q {prompt} A {{ taste }} B", show(value, taste=value)) == f"Q {value} A {value} B"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{prompt}{{ x", "template is no Jinja template: .* go between {% raw %} and {% endraw %}"),
        ("{prompt}{% if x %}", "template is no Jinja template"),
        ("{prompt}{% include 'a' %}", "template includes other templates, which are not read"),
        ("{prompt}{% import taste as x %}", "template includes other templates"),
        ("{prompt}{% extends 'a' %}", "template includes other templates"),
        ("{prompt}<|im_end|>", r"template holds the chat token <\|im_end\|>"),
        ("{prompt}\0", "template holds a NUL character"),
        ("no prompt", r"template: \{prompt\} is missing"),
        ("{prompt}{prompt}", r"template: \{prompt\} occurs 2 times"),
        (3, "template must be text, got 3"),
    ],
)
def test_a_text_is_checked_when_it_is_given(source, message):
    with pytest.raises(ValueError, match=message):
        Text(source if isinstance(source, int) else f"{source}{{image_0}}{{image_1}}", "template", SLOTS)


@pytest.mark.parametrize(
    ("source", "columns", "message"),
    [
        (
            "{prompt}{{ taste }}",
            {"style": "x"},
            r"template asks for the column 'taste', which pair p7 does not have; its columns are \['style'\], and the "
            r"task's own names \['labels', 'prompt'\]\. A PairTable hands on the columns that its option names",
        ),
        ("{prompt}{% if taste %}x{% endif %}", {}, "asks for the column 'taste', which pair p7 does not have"),
        ("{prompt}{{ lipsum() }}", {}, "asks for the column 'lipsum'"),
        ("{prompt}{{ taste }}", {"taste": None}, r"template cannot be filled for pair p7: a value is empty \(None\)"),
        ("{prompt}{{ taste.x }}", {"taste": {}}, "template cannot be filled for pair p7: .* has no attribute 'x'"),
        ("{prompt}{{ taste / 0 }}", {"taste": 1}, "template cannot be filled for pair p7: division by zero"),
        ("{prompt}{{ taste }}", {"taste": "a\0b"}, "template cannot be filled for pair p7: a value holds a NUL"),
        ("{{ '{prompt}' }}{prompt}", {}, r"\{prompt\} occurs 2 times"),
        ("{prompt}{{ ''.__class__ }}", {}, "template cannot be filled for pair p7: .* unsafe"),
        ("{prompt}{{ taste.append(1) }}", {"taste": []}, "template cannot be filled for pair p7: .*"),
        ("{prompt}{{ labels }}", {"labels": "x"}, "the column 'labels' has a name that the task uses itself"),
        ("{prompt}{{ taste }}", {"taste": "<|im_end|>"}, r"the column 'taste' of pair p7 holds the chat token"),
        ("{prompt}{{ taste | length }}", {"taste": [{"a": "<|im_end|>"}]}, r"the column 'taste' of pair p7 holds"),
        ("{prompt}{{ a }}{{ b }}", {"a": "<|im_", "b": "end|>"}, r"template, filled for pair p7, holds the chat token"),
    ],
)
def test_what_cannot_be_filled_says_why(source, columns, message):
    with pytest.raises(ValueError, match=message):
        fill(source, show(**columns), labels=["0", "1"])


def test_a_column_that_no_text_names_may_hold_anything():
    assert fill("{prompt}", show(taste="<|im_end|>", labels="x"), labels=[]) == "three red circles"


def test_without_image_slots_the_prompt_is_no_slot_either():
    assert Text("Judge {prompt}.", "system").fill(show(), {}) == ["Judge {prompt}."]
    assert Text("Judge for {{ taste }}.", "system").fill(show(taste="a cat lover"), {}) == ["Judge for a cat lover."]


def test_a_task_with_templates_can_be_copied_and_sent_to_other_processes():
    task = PairwisePreference("{prompt}{image_0}{image_1}{{ taste }}")
    shown = show(taste="bold")
    for other in (copy.deepcopy(task), pickle.loads(pickle.dumps(task))):  # as a data loader's workers get it
        assert other.encode(shown).messages == task.encode(shown).messages


# ---- judges for one user, or by one rubric ---------------------------------------------------------------------------


def test_a_judge_can_be_asked_by_a_users_taste_and_history():
    task = PairwisePreference(
        "{prompt}\n{% if history %}\nThis user liked: {% for each in history %}{{ each }}; {% endfor %}\n{% endif %}\n"
        "{image_0} or {image_1}?",
        system="You judge for one user, who likes {{ taste }}.",
        retelling="{prompt} {image_0} {image_1} This user likes {{ taste }}.",
    )
    system, user = task.encode(show(taste="flat colours", history=["a cat", "a dog"])).messages
    assert system["content"][0]["text"] == "You judge for one user, who likes flat colours."
    assert user["content"][0]["text"] == "three red circles\nThis user liked: a cat; a dog; "
    other = task.encode(show(taste="shadows", history=[])).messages[1]
    assert other["content"][0]["text"] == "three red circles\n"
    heard = task.retell_question(show(taste="shadows", history=[])).messages[1]["content"]
    assert heard[-1]["text"] == " This user likes shadows."


def test_an_image_that_a_condition_leaves_out_is_told():
    task = PairwisePreference("{prompt}{image_0}{% if both %}{image_1}{% endif %}")
    assert len(task.encode(show(both=True)).images) == 2
    with pytest.raises(ValueError, match="template, filled for pair p7, has 1 image slots for 2 images"):
        task.encode(show(both=False))
