"""Sources of preference pairs and of rated images beyond the bundled world."""

from lit_listener.data.sources.gen_ai_bench import GenAIBench
from lit_listener.data.sources.given_traces import ImageGenCoT, TraceTable
from lit_listener.data.sources.hpdv2 import HPDv2
from lit_listener.data.sources.hpdv3 import HPDv3
from lit_listener.data.sources.image_reward import ImageRewardDB, ImageRewardRatings
from lit_listener.data.sources.mmrb2 import MMRB2
from lit_listener.data.sources.pick_a_pic import PickAPic
from lit_listener.data.sources.rapidata import Rapidata
from lit_listener.data.sources.table import PairTable
from lit_listener.data.sources.whole_lists import WholeLists

__all__ = [
    "MMRB2",
    "GenAIBench",
    "HPDv2",
    "HPDv3",
    "ImageGenCoT",
    "ImageRewardDB",
    "ImageRewardRatings",
    "PairTable",
    "PickAPic",
    "Rapidata",
    "TraceTable",
    "WholeLists",
]
