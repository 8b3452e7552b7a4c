"""Listeners: frozen models that hear a chain of thought without its answer, and say which image they think better."""

from lit_listener.vlm.listeners.controls import RandomListener, ShuffledListener
from lit_listener.vlm.listeners.failures import ListenerFailedError
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener
from lit_listener.vlm.listeners.model import ModelListener
from lit_listener.vlm.listeners.none import NoListener
from lit_listener.vlm.listeners.reference import ReferenceListener
from lit_listener.vlm.listeners.remote.listener import RemoteListener

__all__ = [
    "Heard",
    "Hearing",
    "Listener",
    "ListenerFailedError",
    "ModelListener",
    "NoListener",
    "RandomListener",
    "ReferenceListener",
    "RemoteListener",
    "ShuffledListener",
]
