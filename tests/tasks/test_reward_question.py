import pytest
from PIL import Image

from lit_listener.tasks import RewardQuestion

IMAGE = Image.new("RGB", (4, 4), "red")


def test_prompt_and_image_stand_where_the_template_has_them():
    question = RewardQuestion("{prompt}: {image} good?", system=None).encode("a cat", IMAGE)
    assert question.messages == (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a cat: "},
                {"type": "image"},
                {"type": "text", "text": " good?"},
            ],
        },
    )
    assert question.images == (IMAGE,)
    assert question.label is None


def test_the_image_may_come_first_and_nothing_need_surround_it():
    (message,) = RewardQuestion("{image}{prompt}", system=None).encode("a cat", IMAGE).messages
    assert message["content"] == [{"type": "image"}, {"type": "text", "text": "a cat"}]


def test_braces_in_a_prompt_are_plain_text():
    (message,) = RewardQuestion("{prompt} {image} {x}", system=None).encode("{image} {prompt}", IMAGE).messages
    assert message["content"][0] == {"type": "text", "text": "{image} {prompt} "}
    assert message["content"][2] == {"type": "text", "text": " {x}"}


def test_the_system_message_comes_first():
    messages = RewardQuestion(system="Rate.").encode("a cat", IMAGE).messages
    assert messages[0] == {"role": "system", "content": [{"type": "text", "text": "Rate."}]}
    assert [message["role"] for message in messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{prompt}", r"template: \{image\} is missing"),
        ("{image}", r"template: \{prompt\} is missing"),
        ("{prompt}{image}{image}", r"template: \{image\} occurs 2 times"),
        ("{prompt}{image}<|im_end|>", r"template holds the chat token <\|im_end\|>"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template, message):
    with pytest.raises(ValueError, match=message):
        RewardQuestion(template)


def test_a_prompt_with_an_image_slot_of_its_own_is_refused():
    with pytest.raises(ValueError, match=r"the prompt holds the chat token <\|image_pad\|>"):
        RewardQuestion().encode("a <|image_pad|>", IMAGE)
