"""The Scenes world: related objects, bound attributes, letters and words, in pictures by seven renderers."""

from lit_listener.data.scenes.prompts import KINDS, random_prompt
from lit_listener.data.scenes.renderers import HELD_OUT, RENDERERS, TRAINED_ON, Renderer
from lit_listener.data.scenes.scene import Part, Scene
from lit_listener.data.scenes.slips import Slips, attempt
from lit_listener.data.scenes.traces import ScenesTraces, attribute_accuracy, displayed_scenes
from lit_listener.data.scenes.world import ScenesPair, ScenesPairs, ScenesVoters

__all__ = [
    "HELD_OUT",
    "KINDS",
    "RENDERERS",
    "TRAINED_ON",
    "Part",
    "Renderer",
    "Scene",
    "ScenesPair",
    "ScenesPairs",
    "ScenesTraces",
    "ScenesVoters",
    "Slips",
    "attempt",
    "attribute_accuracy",
    "displayed_scenes",
    "random_prompt",
]
