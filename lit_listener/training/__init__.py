"""Training: the reasoner, GRPO with a listener, the baselines it is compared with, and data."""

from lit_listener.training.answer_sft import AnswerSFT
from lit_listener.training.bradley_terry import BradleyTerryReward
from lit_listener.training.data_module import PreferenceData
from lit_listener.training.groups import AllGroups, DynamicSampling
from lit_listener.training.listener_grpo import ListenerGRPO
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.reference_use import RefreshEvery
from lit_listener.training.sampled_traces import SampledTraces
from lit_listener.training.scorer_judge import ScorerJudge
from lit_listener.training.trace_sft import TraceSFT

__all__ = [
    "AllGroups",
    "AnswerSFT",
    "BradleyTerryReward",
    "DynamicSampling",
    "ListenerGRPO",
    "PreferenceData",
    "Reasoner",
    "RefreshEvery",
    "SampledTraces",
    "ScorerJudge",
    "TraceSFT",
]
