"""The record of one judged completion: a row of predictions.parquet, from which every figure is computed."""

from dataclasses import dataclass

_PROBABILITIES = (
    "p_second",
    "listener_p_second",
    "listener_p_correct",
    "share_a",
    "p_second_without_thinking",
    "listener_p_second_stripped",
    "independent_p_second",
    "p_contradiction",
    "likeliest_p_second",
)


@dataclass(frozen=True)
class Prediction:
    """One judged completion: a row of predictions.parquet. "Displayed index" is 0 for the image shown first."""

    pair_id: str
    prompt_id: str
    """Intervals are clustered by it."""
    prompt: str
    rollout: int
    """Which of the pair's completions this is, from 0."""
    first: str
    """The side displayed first, "a" or "b"."""
    label: int | None
    """Displayed index of the image people prefer; None for a tie."""
    answer: int | None
    """Displayed index the completion answers with; None where no answer can be read."""
    outcome: str
    """How the completion was parsed; "ok" is the wanted format."""
    p_second: float | None
    """The model's own probability p(1|C) of the second image shown; None where there is no answer to read it at."""
    listener_p_second: float | None
    """The listener's probability of the second image shown, having heard the trace; None where it heard none."""
    listener_p_correct: float | None
    """The listener's probability of the right image; None for a tie or where it heard nothing."""
    contradicts: bool
    """Whether the trace states another verdict than the answer."""
    stated_verdict: int | None
    """Displayed index the trace itself names as better; None where it names neither."""
    length: int
    """Tokens of the completion."""
    truncated: bool
    """Whether the completion ran into the length limit."""
    trace: str
    share_a: float
    """Share of the votes for image a, in [0, 1]."""
    generator_a: str
    generator_b: str
    source: str = ""
    """Name of the data source the pair came from ("held_out")."""
    index: int = 0
    """The pair's place in its source."""
    votes: int = 0
    """How many votes ``share_a`` was taken over; 0 where the source does not tell."""
    category: str = ""
    """What kind of prompt it is, where the source tells."""
    list_id: str | None = None
    """The ranked list that the pair is of; None where pairs come as pairs."""
    item_a: int | None = None
    """Place of image a in its list, from 0."""
    item_b: int | None = None
    rank_a: float | None = None
    """Rank of image a in its list; 1 is best, and equal ranks are ties."""
    rank_b: float | None = None
    p_second_without_thinking: float | None = None
    """The model's own probability of the second image after a fixed sentence in place of its thoughts."""
    listener_p_second_stripped: float | None = None
    """The listener's probability of the second image, having heard the trace without the sentences that state a
    verdict."""
    independent_p_second: float | None = None
    """The probability of the second image by a listener that took no part in training, having heard the trace."""
    p_contradiction: float | None = None
    """A text judge's probability that the answer contradicts the trace: p(YES), renormalised over YES and NO."""
    prompt_in_training: bool | None = None
    """Whether the prompt is among those trained on; None where nobody looked."""
    level: bool = False
    """Whether the answers put both images level, as two equal ratings do; there is then no ``answer``."""
    likeliest_p_second: float | None = None
    """``p_second`` made of each answer's likeliest label alone; 0.5 where two images are likeliest rated the same."""

    def __post_init__(self) -> None:
        """Refuse what would otherwise be counted as something else."""
        where = f"prediction of pair {self.pair_id!r}, rollout {self.rollout}"
        if self.first not in ("a", "b"):
            raise ValueError(f'{where}: first must be "a" or "b", got {self.first!r}')
        for name in ("label", "answer", "stated_verdict"):
            if getattr(self, name) not in (0, 1, None):
                raise ValueError(f"{where}: {name} must be 0, 1 or None, got {getattr(self, name)!r}")
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{where}: {name} must lie in [0, 1], got {value}")

    @property
    def unparsable(self) -> bool:
        """Whether no answer can be read."""
        return self.answer is None and not self.level

    @property
    def thinks(self) -> bool:
        """Whether the judge wrote anything at all; a scorer does not."""
        return self.length > 0

    @property
    def contradiction(self) -> float | None:
        """1 where the trace states another verdict than the answer, else 0; None without an answer or without words."""
        return float(self.contradicts) if self.thinks and not self.unparsable else None

    @property
    def p_a(self) -> float | None:
        """The model's own probability that image a is better; None where no answer can be read.

        A probability at the place of an answer that is none of the labels does not count: it is an unreadable answer.
        """
        if self.p_second is None or self.unparsable:
            return None
        return self.p_second if self.first == "b" else 1.0 - self.p_second

    @property
    def likeliest_p_a(self) -> float | None:
        """1 where the likeliest labels prefer image a, 0 where b, 0.5 for two ratings alike; None where unreadable.

        Of files without ``likeliest_p_second``, whose answers name an image, it is what ``p_a`` says.
        """
        if self.likeliest_p_second is None or self.unparsable:
            return self.p_a
        return self.likeliest_p_second if self.first == "b" else 1.0 - self.likeliest_p_second

    @property
    def chosen(self) -> str | None:
        """The side answered with, "a" or "b"; None where no answer can be read, or both images are level."""
        if self.answer is None:
            return None
        return self.first if self.answer == 0 else ("b" if self.first == "a" else "a")

    @property
    def correct(self) -> int | None:
        """1 where the answer is the preferred image, 0 where it is the other, level or unreadable; None for a tie."""
        return None if self.label is None else int(self.answer == self.label)

    @property
    def p_correct(self) -> float | None:
        """The model's own probability of the preferred image; None where unreadable or a tie."""
        if self.label is None or self.p_second is None:
            return None
        return self.p_second if self.label == 1 else 1.0 - self.p_second

    @property
    def listener_correct(self) -> int | None:
        """1 where the listener gives the preferred image more than half, else 0; None where it has no p(correct)."""
        return None if self.label is None or self.listener_p_correct is None else int(self.listener_p_correct > 0.5)
