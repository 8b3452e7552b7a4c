"""What a reward model reads before it gives an image a score: the image and its prompt, in words of a template.

Nothing is answered: there are no labels, and no reply is read. So it is no ``Task``.
"""

import re
from typing import Any

from PIL.Image import Image

from lit_listener.tasks.task import Question
from lit_listener.tasks.wording import refuse_chat_tokens

DEFAULT_SYSTEM = "You rate images that were generated from a text prompt by how much people would like them."
DEFAULT_TEMPLATE = """\
An image was generated from a text prompt. How good is it for this prompt? Look at how well it matches the prompt \
(objects, numbers, colours, positions, actions, written text, style), and at how good it is as an image (sharpness, \
anatomy, artefacts, composition, appeal).

Prompt: {prompt}

Image:
{image}
Overall score:"""

_FIELD = re.compile(r"(\{prompt\}|\{image\})")
_FIELDS = ("{prompt}", "{image}")


class RewardQuestion:
    """How an image and its prompt are put before a reward model.

    Args:
        template: the message, with {prompt} and {image} once each, in either order; other braces are plain text.
        system: the system message; null for no such message (some chat templates then add one of their own).

    Raises:
        ValueError: a field is missing or repeated, or a text holds a chat token.
    """

    def __init__(self, template: str = DEFAULT_TEMPLATE, system: str | None = DEFAULT_SYSTEM) -> None:
        refuse_chat_tokens(system or "", "system")
        refuse_chat_tokens(template, "template")
        for field in _FIELDS:
            if (count := template.count(field)) != 1:
                problem = "is missing" if count == 0 else f"occurs {count} times"
                raise ValueError(f"template: {field} {problem}; write {' and '.join(_FIELDS)} exactly once each")
        self.template = template
        self.system = system
        self._pieces = _FIELD.split(template)  # split once: braces in a prompt stay plain text

    def encode(self, prompt: str, image: Image) -> Question:
        """The message about one image.

        Args:
            prompt: what the image was made from.
            image: the image.

        Raises:
            ValueError: the prompt holds a chat token such as ``<|image_pad|>``.
        """
        refuse_chat_tokens(prompt, "the prompt")
        before, field, between, _, after = self._pieces
        texts = (before + prompt + between, after) if field == "{prompt}" else (before, between + prompt + after)
        slot = {"type": "image"}
        content = [{"type": "text", "text": texts[0]}, slot, {"type": "text", "text": texts[1]}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": [p for p in content if p is slot or p["text"]]}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": self.system}]})
        return Question(messages=tuple(messages), images=(image,), label=None)
