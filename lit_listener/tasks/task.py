"""What a task is: everything that depends on the question asked of a vision-language model.

A task words the question, names the labels an answer may give, reads completions and rewards them. It knows nothing of
tokenizers or weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL.Image import Image

from lit_listener.data.records import Demonstration, ShownPair
from lit_listener.tasks.transcript import Transcript


@dataclass(frozen=True, eq=False)
class Question:
    """What a vision-language model is asked: chat messages with image slots, and the images that fill them."""

    messages: tuple[dict[str, Any], ...]
    """Messages for a chat template: ``{"role": …, "content": [{"type": "text", "text": …}, {"type": "image"}, …]}``."""
    images: tuple[Image, ...]
    """One image for every slot, in the slots' order."""
    label: int | None
    """Index of the right label; None where it is unknown (a tie)."""

    def __post_init__(self) -> None:
        slots = sum(part["type"] == "image" for message in self.messages for part in message["content"])
        if slots != len(self.images):
            raise ValueError(
                f"a question needs one image for every slot, got {len(self.images)} images for {slots} slots"
            )


class Task(Protocol):
    """A question about a pair of images, and how its answers are read and rewarded."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts an answer may consist of."""

    def encode(self, shown: ShownPair) -> Question:
        """The question that the reasoner is asked."""

    def parse(self, token_bytes: Sequence[bytes], *, truncated: bool) -> Transcript:
        """Read a completion from its tokens' bytes (without the end token)."""

    def beyond_repair(self, raw: bytes) -> bool:
        """Whether a completion that begins so cannot be well-formed any more, whatever follows."""

    def format_reward(self, transcripts: Sequence[Transcript]) -> list[float]:
        """The reward for keeping the form, one a transcript."""

    def accuracy_reward(self, transcripts: Sequence[Transcript], labels: Sequence[int]) -> list[float]:
        """The reward for the right answer, one a transcript."""

    def write(self, demonstration: Demonstration) -> str:
        """The completion a model shall learn to write."""

    def stated_verdict(self, trace: str) -> int | None:
        """Index of the label that the thoughts themselves argue for; None where they state none."""

    def contradicts(self, transcript: Transcript) -> bool:
        """Whether the thoughts state one verdict and the answer gives another."""

    def strip_verdicts(self, trace: str) -> str:
        """The thoughts without the sentences that state a verdict."""

    def opening(self, trace: str) -> str:
        """A completion with these thoughts, up to the answer's place."""

    def closing(self, raw: bytes) -> tuple[int, str]:
        """How a completion without an answer's place is led to one: how many bytes are kept, and what follows."""

    def in_words(self, answer: int) -> str:
        """An answer in words, for a reader who knows no labels."""

    def retell_question(self, shown: ShownPair) -> Question:
        """The question that a listener is asked: shared by all traces about one pair."""

    def retell_continuation(self, trace: str) -> str:
        """The opening of the listener's reply: the trace as somebody's explanation, up to the label's place."""
