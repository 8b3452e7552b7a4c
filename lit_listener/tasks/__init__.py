"""Tasks: the questions asked of a vision-language model, and how its answers are read and rewarded."""

from lit_listener.tasks.grammar import Grammar
from lit_listener.tasks.listwise import ChoosesAmongImages, Listwise
from lit_listener.tasks.pairwise import PairwisePreference
from lit_listener.tasks.rating import AbsoluteRating, NearMisses, RatesImages
from lit_listener.tasks.reward_question import RewardQuestion
from lit_listener.tasks.task import Question, Task
from lit_listener.tasks.transcript import Outcome, Transcript, parse_transcript
from lit_listener.tasks.yes_no import YesNoComparison

__all__ = [
    "AbsoluteRating",
    "ChoosesAmongImages",
    "Grammar",
    "Listwise",
    "NearMisses",
    "Outcome",
    "PairwisePreference",
    "Question",
    "RatesImages",
    "RewardQuestion",
    "Task",
    "Transcript",
    "YesNoComparison",
    "parse_transcript",
]
