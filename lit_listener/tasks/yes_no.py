"""Yes or no: is the first image better than the reference, by these criteria?

The reward is the probability of "yes" (RewardDance, Wu et al. 2025, arXiv 2509.08826): a generative judge whose score
is one token of its own, with the criteria, and a reference image, in the question. The second displayed image is the
reference. Label 0 is "yes", so that Eq. 4 of the paper reads as ever: p(no) speaks for the second image.

Left out: several reference images, and how that paper trains. Any training of this package fits.
"""

import re
from typing import Any

from lit_listener.data.shown import Shown
from lit_listener.tasks.pairwise import DEFAULT_CONTINUATION, DEFAULT_SYSTEM, PairwisePreference
from lit_listener.tasks.wording import Text
from lit_listener.tasks.wording_file import resolved

DEFAULT_CRITERIA = """\
- It shows what the prompt asks for: objects, numbers, colours, positions, actions, written text, style.
- It is a good image: sharp, without faults of anatomy or artefacts, well composed, appealing."""
_ASKED = """\
Two images were generated from the same text prompt. The second one is the reference. Decide whether the first image \
is better than the reference, by these criteria:
{{ criteria }}

Prompt: {prompt}

First image:
{image_0}
Second image, the reference:
{image_1}

"""
DEFAULT_TEMPLATE = (
    _ASKED
    + """\
{% if thinks %}
Compare the two by each criterion, inside <think></think>; call them "the first image" and "the second image", and say \
which one is better. Then answer inside <answer></answer>: {{ answers[0] }} if the first image is better, \
{{ answers[1] }} if it is not.

Reply in exactly this form, and with nothing else:
<think>your thoughts</think><answer>{{ answers[0] }} or {{ answers[1] }}</answer>
{%- else %}
Answer inside <answer></answer>: {{ answers[0] }} if the first image is better, {{ answers[1] }} if it is not.

Reply in exactly this form, and with nothing else:
<answer>{{ answers[0] }} or {{ answers[1] }}</answer>
{%- endif %}"""
)
DEFAULT_RETELLING = (
    _ASKED
    + """\
Somebody has explained how the two images compare. The explanation may be right or wrong. First repeat it word for \
word, then look at the images yourself and give your own answer inside <answer></answer>: {{ answers[0] }} if the \
first image is better, {{ answers[1] }} if it is not."""
)
_REFERENCE = re.compile(r"\breference\b", re.IGNORECASE)


class YesNoComparison(PairwisePreference):
    """The question whether the first displayed image is better than the second, the reference."""

    def __init__(  # noqa: PLR0913, PLR0917  # one option a part of the wording keeps a config flat
        self,
        template: str = DEFAULT_TEMPLATE,
        system: str | None = DEFAULT_SYSTEM,
        retelling: str = DEFAULT_RETELLING,
        continuation: str = DEFAULT_CONTINUATION,
        criteria: str = DEFAULT_CRITERIA,
        labels: tuple[str, ...] = ("yes", "no"),
        answer: str = "{label}",
        thinks: bool = True,
        file: str | None = None,
    ) -> None:
        """Take the wording of the question.

        Args:
            template: The reasoner's question, with ``{prompt}``, ``{image_0}`` and ``{image_1}`` once each, and
                ``{{ criteria }}`` where the criteria shall stand.
            system: The system message; None for no such message.
            retelling: A listener's question, with the same slots and names.
            continuation: The opening of the listener's reply, with ``{trace}`` once, and ``<answer>`` at its end.
            criteria: What the images are compared by. It may name columns of the data (``{{ rubric }}``), so that each
                pair is judged by its own.
            labels: The labels for yes (the first displayed image is better) and for no, in this order; each one token.
            answer: What stands in the answer block, with ``{label}`` once.
            thinks: Whether thoughts in ``<think></think>`` come first.
            file: A YAML file with these options in the place of them, or the name of a bundled wording.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If an option is not what it should be, or if others are given beside a file.
        """
        given: dict[str, Any] = {"template": template, "system": system, "retelling": retelling}
        given |= {"continuation": continuation, "criteria": criteria, "labels": labels, "answer": answer}
        options = resolved(YesNoComparison, {**given, "thinks": thinks, "file": file})
        self._criteria = Text(options.pop("criteria"), "criteria")
        super().__init__(**options)
        texts = (self._template, self._retelling, self._system)
        if self._criteria.source != DEFAULT_CRITERIA and not any(
            text and "criteria" in text.variables for text in texts
        ):
            raise ValueError("criteria are given, but no text names them: write {{ criteria }} into the template")

    def swap_images(self, trace: str) -> str | None:
        """As for any pair; None also where the thoughts speak of the reference, which is always the second image."""
        return None if _REFERENCE.search(trace) else super().swap_images(trace)

    def names(self, shown: Shown) -> dict[str, Any]:
        """What templates may name: the criteria too."""
        own = super().names(shown)
        return {**own, "criteria": "".join(self._criteria.fill(shown, own))}
