"""Listeners: frozen models that hear a chain of thought without its answer, and say which image they think better."""

from lit_listener.vlm.listeners.both_orders import BothOrdersListener
from lit_listener.vlm.listeners.controls import RandomListener, ShuffledListener
from lit_listener.vlm.listeners.ensemble import EnsembleListener
from lit_listener.vlm.listeners.failures import ListenerFailedError
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener, Rescore, Rescored
from lit_listener.vlm.listeners.model import ModelListener
from lit_listener.vlm.listeners.none import NoListener
from lit_listener.vlm.listeners.reference import ReferenceListener
from lit_listener.vlm.listeners.remote.listener import RemoteListener
from lit_listener.vlm.listeners.rewritten import Rewriter
from lit_listener.vlm.listeners.stripped import StrippedListener

__all__ = [
    "BothOrdersListener",
    "EnsembleListener",
    "Heard",
    "Hearing",
    "Listener",
    "ListenerFailedError",
    "ModelListener",
    "NoListener",
    "RandomListener",
    "ReferenceListener",
    "RemoteListener",
    "Rescore",
    "Rescored",
    "Rewriter",
    "ShuffledListener",
    "StrippedListener",
]
