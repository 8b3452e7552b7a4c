"""Tasks: the questions asked of a vision-language model, and how its answers are read and rewarded."""

from lit_listener.tasks.pairwise import PairwisePreference
from lit_listener.tasks.task import Question, Task
from lit_listener.tasks.transcript import Outcome, Transcript, parse_transcript

__all__ = ["Outcome", "PairwisePreference", "Question", "Task", "Transcript", "parse_transcript"]
