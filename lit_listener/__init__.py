"""Train vision-language reasoners with GRPO and a listener to judge which of two images people prefer."""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_listener.judging.client import JudgeClient
    from lit_listener.judging.judge import Judge
    from lit_listener.judging.reward_model import RewardModel

__all__ = ["Judge", "JudgeClient", "RewardModel", "__version__"]
__version__ = "0.1.0"

# bitsandbytes, which peft and transformers import, warns on some CPUs of a missing kernel that nothing here uses.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(lambda record: "gemm_4bit_forward" not in str(record.msg))


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """The judges, imported when they are first asked for: the command line's help must not wait for torch."""
    if name == "Judge":
        from lit_listener.judging.judge import Judge  # noqa: PLC0415

        return Judge
    if name == "JudgeClient":
        from lit_listener.judging.client import JudgeClient  # noqa: PLC0415

        return JudgeClient
    if name == "RewardModel":
        from lit_listener.judging.reward_model import RewardModel  # noqa: PLC0415

        return RewardModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
