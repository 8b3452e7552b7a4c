"""What a server answers with, as records; by them its documentation is written."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from lit_listener.data.records import Side
from lit_listener.judging.results import AnchorChoice


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TraceAnswer(_Answer):
    """One chain of thought about two images; see ``lit_listener.judging.traces.Trace``."""

    first: Side
    rollout: int
    text: str
    thinking: str
    answer: Side | None
    p_a: float
    forced: bool
    outcome: str
    contradicts: bool
    tokens: int
    listener_p_a: float | None


class RatingTraceAnswer(_Answer):
    """One chain of thought about one image; see ``lit_listener.judging.traces.RatingTrace``."""

    rollout: int
    text: str
    thinking: str
    answer: str | None
    score: float
    forced: bool
    outcome: str
    contradicts: bool
    tokens: int
    listener_score: float | None


class ListTraceAnswer(_Answer):
    """One chain of thought about all images of a list; see ``lit_listener.judging.traces.ListTrace``."""

    order: list[int]
    rollout: int
    text: str
    thinking: str
    answer: int | None
    scores: list[float]
    forced: bool
    outcome: str
    contradicts: bool
    tokens: int
    listener_scores: list[float] | None


class RatingAnswer(_Answer):
    """How one image is rated by itself; see ``Rating``."""

    score: float
    listener_score: float | None
    lowest: str
    highest: str
    traces: list[RatingTraceAnswer]


class _How(_Answer):
    rollouts: int
    both_orders: bool
    seed: int


class CompareAnswer(_How):
    """Which image is preferred; see ``Comparison``."""

    prompt: str
    p_a: float
    preferred: Side | None
    flipped: bool | None
    listener_p_a: float | None
    traces: list[TraceAnswer]
    ratings: list[RatingAnswer] | None


class ScoreAnswer(_How):
    """For each image the probability that it is preferred to the anchor; or its expected rating, in [0, 1].

    Where a judge looks at all images at once: the probability of being the best of them.
    """

    scores: list[float]
    anchor: int | None
    anchor_choice: AnchorChoice


class RankAnswer(ScoreAnswer):
    """The images' scores and order, best first; see ``Ranking``."""

    prompt: str
    order: list[int]
    ranks: list[int]
    comparisons: list[CompareAnswer | None]
    ratings: list[RatingAnswer] | None
    listener_scores: list[float] | None
    list_traces: list[ListTraceAnswer] | None


class HealthAnswer(_Answer):
    """Whether the server takes requests, and of which model."""

    status: Literal["ok", "stopping"]
    model: str
    version: str
    can_listen: bool
    queue: int
    rates_images: bool


class ErrorDetail(_Answer):
    """What is wrong: a word for machines and a message for people."""

    code: str
    message: str


class ErrorAnswer(_Answer):
    """The body of every error."""

    error: ErrorDetail
    request_id: str
