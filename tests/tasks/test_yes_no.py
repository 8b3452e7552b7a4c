"""The yes-or-no task: p(yes) says that the first image is better than the reference."""

import pytest
import torch
from PIL import Image

from lit_listener.data.records import PreferencePair
from lit_listener.data.shown import Demonstration, ShownPair
from lit_listener.objective import preference_probability
from lit_listener.tasks import Task, YesNoComparison

RED, BLUE = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")


def show(first: str = "a", share_a: float = 0.8, **columns: object) -> ShownPair:
    return ShownPair(PreferencePair("a cat", RED, BLUE, share_a, 5, "p7", "p", columns=columns), first, 0)


def words(question) -> str:
    return "".join(part.get("text", "[]") for part in question.messages[-1]["content"])


def test_the_task_is_a_task():
    task: Task = YesNoComparison()
    assert task.labels == ("yes", "no")


def test_yes_is_label_0_and_the_first_image():
    task = YesNoComparison()
    assert task.encode(show("a", 0.8)).label == 0
    assert task.encode(show("b", 0.8)).label == 1
    yes, no = (task.parse([f"<think>a</think><answer>{x}</answer>".encode()], truncated=False) for x in ("yes", "no"))
    assert task.accuracy_reward([yes, no, yes], [show("a"), show("a"), show("b")]) == [1.0, 0.0, 0.0]
    assert [task.verdict([transcript.answer]) for transcript in (yes, no)] == [0, 1]
    assert task.in_words(0) == "yes (the first image is better)"
    assert task.in_words(1) == "no (the second image is better)"


def test_the_score_is_the_probability_of_yes():
    task = YesNoComparison()
    logits_NL = torch.tensor([[1.5, 0.25]])  # yes, no
    p_label_NL = logits_NL.softmax(1)
    # p(yes) = 1 / (1 + e^(0.25 - 1.5)) = 1 / (1 + 0.286505) = 0.777300; Eq. 4 gives p(no), which speaks for the second
    assert 1 - task.p_second(p_label_NL) == pytest.approx(0.777300, abs=1e-6)
    assert task.p_second(p_label_NL) == pytest.approx(float(preference_probability(logits_NL)), abs=1e-6)
    assert float(task.agreement(p_label_NL, [show("a")])) == pytest.approx(0.777300, abs=1e-6)
    assert float(task.agreement(p_label_NL, [show("b")])) == pytest.approx(0.222700, abs=1e-6)


def test_the_criteria_are_part_of_both_questions():
    task = YesNoComparison(criteria="- It is funny.")
    for question in (task.encode(show()), task.retell_question(show())):
        assert "by these criteria:\n- It is funny.\n" in words(question)
    assert words(task.encode(show())).endswith("<think>your thoughts</think><answer>yes or no</answer>")
    assert words(YesNoComparison(thinks=False).encode(show())).endswith("nothing else:\n<answer>yes or no</answer>")


def test_each_pair_may_have_criteria_of_its_own():
    task = YesNoComparison(criteria="{% for rule in rubric %}\n- {{ rule }}\n{% endfor %}")
    assert "- sharp\n- red\n" in words(task.encode(show(rubric=["sharp", "red"])))
    odd = words(task.encode(show(rubric=["{image_0} {{ labels }}"])))
    assert "- {image_0} {{ labels }}\n" in odd  # data is no template
    with pytest.raises(ValueError, match="criteria asks for the column 'rubric', which pair p7 does not have"):
        task.encode(show())
    with pytest.raises(ValueError, match=r"the column 'rubric' of pair p7 holds the chat token <\|im_end\|>"):
        task.encode(show(rubric=["<|im_end|>"]))


def test_thoughts_are_read_as_those_of_pairs():
    task = YesNoComparison()
    text = task.write(Demonstration(show(), "The second image is better.", 1))
    assert text == "<think>The second image is better.</think><answer>no</answer>"
    assert not task.contradicts(task.parse([text.encode()], truncated=False))
    assert task.contradicts(task.parse([text.replace(">no<", ">yes<").encode()], truncated=False))
    assert task.strip_verdicts("It is red. So the answer is no.") == "It is red."


def test_the_reference_stays_the_second_image_in_the_other_order():
    task = YesNoComparison()
    assert task.swap_images("The first image is sharper. The answer is yes.") == (
        "The second image is sharper. The answer is no."
    )
    assert task.swap_images("The first image is sharper than the Reference.") is None


def test_criteria_that_no_text_names_are_refused():
    plain = {"template": "{prompt}{image_0}{image_1}", "retelling": "{prompt}{image_0}{image_1}"}
    assert YesNoComparison(**plain).labels == ("yes", "no")
    with pytest.raises(ValueError, match=r"criteria are given, but no text names them: write {{ criteria }} into"):
        YesNoComparison(**plain, criteria="- It is funny.")


def test_labels_must_be_two():
    with pytest.raises(ValueError, match="labels must be two, one for each image"):
        YesNoComparison(labels=("yes", "no", "maybe"))
