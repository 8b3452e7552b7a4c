"""What a task is: everything that depends on the question asked of a vision-language model.

A task words the question, names the labels an answer may give, reads completions and rewards them, and makes a
preference between two images of what it reads. It knows nothing of tokenizers or weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL.Image import Image
from torch import Tensor

from lit_listener.data.shown import Demonstration, Shown, ShownPair
from lit_listener.tasks.transcript import Transcript


@dataclass(frozen=True, eq=False)
class Question:
    """What a vision-language model is asked: chat messages with image slots, and the images that fill them."""

    messages: tuple[dict[str, Any], ...]
    """Messages for a chat template: ``{"role": …, "content": [{"type": "text", "text": …}, {"type": "image"}, …]}``."""
    images: tuple[Image, ...]
    """One image for every slot, in the slots' order."""
    label: int | None
    """Index of the right label; None where it is unknown (a tie, or an image that nobody rated)."""

    def __post_init__(self) -> None:
        slots = sum(part["type"] == "image" for message in self.messages for part in message["content"])
        if slots != len(self.images):
            raise ValueError(
                f"a question needs one image for every slot, got {len(self.images)} images for {slots} slots"
            )


class Task(Protocol):
    """A question about images of one prompt, and how its answers are read and rewarded.

    What is shown is of a kind that the task asks about: a pair, one image, a list. Methods that are given another kind
    raise a TypeError that says so.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts an answer may consist of."""

    # ---- asking ----------------------------------------------------------------------------------------------------

    def encode(self, shown: Shown) -> Question:
        """The question that the reasoner is asked."""

    def retell_question(self, shown: Shown) -> Question:
        """The question that a listener is asked: shared by all traces about what is shown."""

    def retell_continuation(self, trace: str) -> str:
        """The opening of the listener's reply: the trace as somebody's explanation, up to the label's place."""

    def write(self, demonstration: Demonstration) -> str:
        """The completion a model shall learn to write."""

    def opening(self, trace: str) -> str:
        """A completion with these thoughts, up to the answer's place."""

    def closing(self, raw: bytes) -> tuple[int, str]:
        """How a completion without an answer's place is led to one: how many bytes are kept, and what follows."""

    # ---- reading ---------------------------------------------------------------------------------------------------

    def parse(self, token_bytes: Sequence[bytes], *, truncated: bool) -> Transcript:
        """Read a completion from its tokens' bytes (without the end token)."""

    def beyond_repair(self, raw: bytes) -> bool:
        """Whether a completion that begins so cannot be well-formed any more, whatever follows."""

    def sentences(self, trace: str) -> list[str]:
        """The thoughts cut where a sentence ends; put together again, the pieces are the thoughts."""

    def stated_verdict(self, trace: str) -> int | None:
        """Index of the label that the thoughts themselves argue for; None where they state none."""

    def contradicts(self, transcript: Transcript) -> bool:
        """Whether the thoughts state one verdict and the answer gives another."""

    def strip_verdicts(self, trace: str) -> str:
        """The thoughts without the sentences that state a verdict."""

    def in_words(self, answer: int) -> str:
        """An answer in words, for a reader who knows no labels."""

    # ---- rewarding -------------------------------------------------------------------------------------------------

    def refuse_undecided(self, shown: Shown) -> None:
        """Raise a ValueError where people's word leaves no answer right, so that there is nothing to learn."""

    def format_reward(self, transcripts: Sequence[Transcript]) -> list[float]:
        """The reward for keeping the form, one a transcript."""

    def accuracy_reward(self, transcripts: Sequence[Transcript], shown: Sequence[Shown]) -> list[float]:
        """The reward for the right answer, one a transcript; ``shown`` says what each is about."""

    def agreement(self, p_label_NL: Tensor, shown: Sequence[Shown]) -> Tensor:
        """How far distributions over the labels agree with people, ``[N]`` in [0, 1]; of a pair: p(y*).

        It is what listeners and soft rewards are paid for (p_corr of Eq. 5).
        """

    # ---- judging a pair --------------------------------------------------------------------------------------------

    def parts(self, pair: ShownPair) -> tuple[Shown, ...]:
        """What has to be asked about, one question each, in order to judge a pair: of a pairwise task, the pair."""

    def p_second(self, p_label_KL: Tensor) -> float:
        """The probability that the second image displayed is preferred, by the label distributions of all K parts."""

    def verdict(self, answers: Sequence[int | None]) -> int | None:
        """Index of the displayed image that the answers of all K parts prefer.

        None where an answer is missing, or where they put both images level.
        """
