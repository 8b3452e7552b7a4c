"""The Shapes world: prompts, renderers, voters and written thoughts, all from a seed."""

from lit_listener.data.shapes.lists import ShapesList, ShapesLists, ShapesListTraces
from lit_listener.data.shapes.ratings import Raters, ShapesRatings, ShapesRatingTraces
from lit_listener.data.shapes.renderers import RENDERERS, Renderer
from lit_listener.data.shapes.scenes import Scene, Slips
from lit_listener.data.shapes.traces import ShapesTraces, attribute_accuracy, displayed_scenes
from lit_listener.data.shapes.world import ShapesPair, ShapesPairs, Voters

__all__ = [
    "RENDERERS",
    "Raters",
    "Renderer",
    "Scene",
    "ShapesList",
    "ShapesListTraces",
    "ShapesLists",
    "ShapesPair",
    "ShapesPairs",
    "ShapesRatingTraces",
    "ShapesRatings",
    "ShapesTraces",
    "Slips",
    "Voters",
    "attribute_accuracy",
    "displayed_scenes",
]
