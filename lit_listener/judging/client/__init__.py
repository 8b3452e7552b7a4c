"""A judge that answers over HTTP: ``JudgeClient`` has the methods of ``Judge``, and gives the same results."""

from lit_listener.judging.client.health import Health
from lit_listener.judging.client.judge_client import JudgeClient

__all__ = ["Health", "JudgeClient"]
