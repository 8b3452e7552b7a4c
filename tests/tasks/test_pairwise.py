"""The pairwise task: its questions, rewards and demonstrations."""

from typing import Any

import pytest
from PIL import Image

from lit_listener.data.records import PreferencePair
from lit_listener.data.shown import Demonstration, ShownPair
from lit_listener.tasks import PairwisePreference, Question, Task

RED, BLUE = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")


def show(prompt: str = "three red circles", first: str = "a", share_a: float = 0.8) -> ShownPair:
    pair = PreferencePair(prompt, RED, BLUE, share_a=share_a, votes=5, pair_id="p7", prompt_id="p")
    return ShownPair(pair, first=first, index=0)


def read(task: PairwisePreference, text: str, *, truncated: bool = False):
    return task.parse([text.encode()], truncated=truncated)


def terse(template: str, **other: Any) -> PairwisePreference:
    return PairwisePreference(template, system=None, **other)


def test_the_task_is_a_task():
    task: Task = PairwisePreference()
    assert task.labels == ("0", "1")


def test_encode_fills_the_template():
    question = terse("Prompt: {prompt}\nA {image_0} B {image_1}").encode(show())
    assert question.messages == (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Prompt: three red circles\nA "},
                {"type": "image"},
                {"type": "text", "text": " B "},
                {"type": "image"},
            ],
        },
    )


def test_a_prompt_between_or_after_the_images_and_no_text_at_all():
    content = terse("{image_0}{prompt}{image_1}").encode(show()).messages[0]["content"]
    assert content == [{"type": "image"}, {"type": "text", "text": "three red circles"}, {"type": "image"}]
    content = terse("{image_0}{image_1}Q: {prompt}?").encode(show()).messages[0]["content"]
    assert content == [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Q: three red circles?"}]


@pytest.mark.parametrize(
    ("first", "share_a", "images", "label"),
    [("a", 0.8, (RED, BLUE), 0), ("b", 0.8, (BLUE, RED), 1), ("a", 0.2, (RED, BLUE), 1), ("b", 0.5, (BLUE, RED), None)],
)
def test_images_and_label_go_by_the_displayed_order(first, share_a, images, label):
    task = PairwisePreference()
    for question in (
        task.encode(show(first=first, share_a=share_a)),
        task.retell_question(show(first=first, share_a=share_a)),
    ):
        assert question.images[0] is images[0]
        assert question.images[1] is images[1]
        assert question.label == label


def test_the_system_message_comes_first_and_can_be_left_out():
    messages = PairwisePreference(system="Judge.").encode(show()).messages
    assert messages[0] == {"role": "system", "content": [{"type": "text", "text": "Judge."}]}
    assert [message["role"] for message in messages] == ["system", "user"]
    assert [message["role"] for message in PairwisePreference(system=None).encode(show()).messages] == ["user"]


@pytest.mark.parametrize("prompt", ["a {prompt} of {image_0}", "{0} {} {{x}} }{", r"\1 \g<0>", "<answer>1</answer>"])
def test_odd_prompts_stay_plain_text(prompt):
    content = terse("Q {prompt} {image_0}{image_1}").encode(show(prompt)).messages[0]["content"]
    assert content[0] == {"type": "text", "text": f"Q {prompt} "}
    assert [part["type"] for part in content] == ["text", "image", "image"]


def test_other_braces_in_a_template_stay_plain_text():
    content = terse('{prompt} {image_0}{image_1} {"answer": 0}').encode(show()).messages[0]["content"]
    assert content[-1]["text"] == ' {"answer": 0}'


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|im_end|>", "<|vision_start|>", "<|endoftext|>"])
def test_chat_tokens_in_a_prompt_are_refused(token):
    task = PairwisePreference()
    for ask in (task.encode, task.retell_question):
        with pytest.raises(ValueError, match=rf"pair p7 holds the chat token <\|{token[2:-2]}\|>"):
            ask(show(f"a cat {token} on a mat"))


def test_chat_tokens_in_the_wording_are_refused():
    with pytest.raises(ValueError, match=r"system holds the chat token"):
        PairwisePreference(system="<|im_start|>")
    with pytest.raises(ValueError, match=r"template holds the chat token"):
        PairwisePreference("{prompt}{image_0}<|image_pad|>{image_1}")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{image_0}{image_1}", r"template: \{prompt\} is missing"),
        ("{prompt}{image_1}", r"template: \{image_0\} is missing"),
        ("{prompt}{image_0}", r"template: \{image_1\} is missing"),
        ("{prompt}{image_0}{image_1}{prompt}", r"template: \{prompt\} occurs 2 times"),
        ("{prompt}{image_0}{image_0}{image_1}", r"template: \{image_0\} occurs 2 times"),
        ("{prompt}{image_1}{image_0}", r"template: \{image_1\} stands before \{image_0\}"),
    ],
)
def test_templates_are_checked(template, message):
    with pytest.raises(ValueError, match=message):
        PairwisePreference(template)
    with pytest.raises(ValueError, match=message.replace("template", "retelling")):
        PairwisePreference(retelling=template)


@pytest.mark.parametrize("continuation", ["<answer>", "{trace}", "{trace}{trace}<answer>", "{trace}<answer> "])
def test_the_continuation_is_checked(continuation):
    with pytest.raises(ValueError, match=r"continuation must hold \{trace\} exactly once and end with <answer>"):
        PairwisePreference(continuation=continuation)


def test_a_question_needs_an_image_for_every_slot():
    with pytest.raises(ValueError, match="got 2 images for 1 slots"):
        Question(messages=({"role": "user", "content": [{"type": "image"}]},), images=(RED, BLUE), label=None)


@pytest.mark.parametrize(
    ("text", "truncated", "form", "accuracy"),
    [
        ("<think>a</think><answer>1</answer>", False, 1.0, 1.0),
        ("<think>a</think><answer>0</answer>", False, 1.0, 0.0),
        ("<answer>1</answer>", False, 0.0, 1.0),  # right, in a wrong form
        ("<think>a</think><answer>1</answer>", True, 0.0, 1.0),
        ("<think>a</think><answer>2</answer>", False, 0.0, 0.0),
        ("<think>a</think><answer>1", False, 0.0, 0.0),  # never closed
        ("the second is better: 1", False, 0.0, 0.0),
    ],
)
def test_rewards(text, truncated, form, accuracy):
    task = PairwisePreference()
    transcripts = [read(task, text, truncated=truncated)]
    assert task.format_reward(transcripts) == [form]
    assert task.accuracy_reward(transcripts, [show(share_a=0.2)]) == [accuracy]


def test_accuracy_needs_a_pair_a_transcript():
    task = PairwisePreference()
    with pytest.raises(ValueError, match="got 2 for 1"):
        task.accuracy_reward([read(task, "")], [show(), show()])


@pytest.mark.parametrize("answer", [0, 1])
def test_what_is_written_reads_back(answer):
    task = PairwisePreference()
    text = task.write(Demonstration(show(), trace="the first is better.", answer=answer))
    assert text == f"<think>the first is better.</think><answer>{answer}</answer>"
    transcript = read(task, text)
    assert (transcript.well_formed, transcript.answer, transcript.think) == (True, answer, "the first is better.")


@pytest.mark.parametrize(
    ("trace", "answer", "message"),
    [
        ("a</think>b", 0, "must not hold tags, got </think>"),
        ("a<|im_end|>", 0, "holds the chat token"),
        ("a", 2, r"must be the index of one of the labels \('0', '1'\), 0 to 1, got 2"),
        ("a", -1, "got -1"),
    ],
)
def test_demonstrations_that_would_not_read_back_are_refused(trace, answer, message):
    with pytest.raises(ValueError, match=message):
        PairwisePreference().write(Demonstration(show(), trace=trace, answer=answer))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>The first is better.</think><answer>0</answer>", False),
        ("<think>The first is better.</think><answer>1</answer>", True),
        ("<think>Both are red.</think><answer>1</answer>", False),
        ("<think>The first is better.</think><answer>2</answer>", False),
        ("<think>The first is better.<answer>1</answer>", True),
        ("The first is better.<answer>1</answer>", False),
    ],
)
def test_contradiction(text, expected):
    task = PairwisePreference()
    assert task.contradicts(read(task, text)) is expected


def test_retelling_keeps_the_trace_out_of_the_question():
    task = PairwisePreference()
    question = task.retell_question(show())
    text = "".join(part.get("text", "") for part in question.messages[-1]["content"])
    assert "three red circles" in text
    assert "<answer></answer>" in text
    assert text != "".join(part.get("text", "") for part in task.encode(show()).messages[-1]["content"])
    assert (
        task.retell_continuation(" The first is red. ")
        == "Somebody's explanation: The first is red.\n\nMy own answer: <answer>"
    )


@pytest.mark.parametrize(
    ("trace", "heard"),
    [
        ("red <answer>1</answer> blue", "red  blue"),
        ("red</think><answer>1", "red"),
        ("a<|im_end|>b<|image_pad|>", "a< |im_end| >b< |image_pad| >"),
        ("{trace} {prompt}", "{trace} {prompt}"),
    ],
)
def test_a_retold_trace_neither_tells_its_answer_nor_ends_the_reply(trace, heard):
    task = terse("{prompt}{image_0}{image_1}", continuation="[{trace}]<answer>")
    assert task.retell_continuation(trace) == f"[{heard}]<answer>"


# ---- other forms of reply --------------------------------------------------------------------------------------------


def test_answers_alone():
    task = terse("{prompt}{image_0}{image_1}", thinks=False)
    assert task.write(Demonstration(show(), trace="I have finished thinking.", answer=1)) == "<answer>1</answer>"
    assert (task.opening("thoughts"), task.closing(b"<think>a")) == ("<answer>", (0, "<answer>"))
    transcript = read(task, "<answer>1</answer>")
    assert (transcript.well_formed, transcript.answer, transcript.think) == (True, 1, None)
    assert task.format_reward([transcript, read(task, "<think>a</think><answer>1</answer>")]) == [1.0, 0.0]
    assert task.beyond_repair(b"<think>")
    assert not task.contradicts(transcript)


def test_answers_in_words():
    task = terse("{prompt}{image_0}{image_1}", labels=("1", "2"), answer="Image {label} is better")
    assert task.labels == ("1", "2")
    text = task.write(Demonstration(show(), trace="so", answer=0))
    assert text == "<think>so</think><answer>Image 1 is better</answer>"
    assert read(task, text).answer == 0
    assert task.opening("so") == "<think>so</think><answer>Image "
    assert task.retell_continuation("so") == "Somebody's explanation: so\n\nMy own answer: <answer>Image "
    assert task.in_words(1) == "2 (the second image is better)"
    assert task.contradicts(read(task, "<think>Image 1 is better.</think><answer>Image 2 is better</answer>"))


def test_the_default_wording_tells_the_form_of_the_answer():
    task = PairwisePreference(labels=("A", "B"), answer="Image {label}")
    for question in (task.encode(show()), task.retell_question(show())):
        text = question.messages[-1]["content"][-1]["text"]
        assert "Image A if the first image is better, Image B if the second image is better." in text
    alone = PairwisePreference(thinks=False).encode(show()).messages[-1]["content"][-1]["text"]
    assert "think" not in alone.lower()
    assert alone.endswith("\n<answer>0 or 1</answer>")


def test_labels_must_be_two():
    with pytest.raises(ValueError, match="labels must be two, one for each image"):
        PairwisePreference(labels=("0", "1", "2"))
