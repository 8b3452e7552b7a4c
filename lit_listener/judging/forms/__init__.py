"""How a judge goes about its work: what requests come down to, by what its task asks about."""

from lit_listener.judging.forms.form import Form
from lit_listener.judging.forms.images import ImageForm
from lit_listener.judging.forms.pairs import PairForm
from lit_listener.tasks import RatesImages, Task

__all__ = ["Form", "ImageForm", "PairForm", "form_of"]


def form_of(task: Task) -> Form:
    """The form that goes with a task: images by themselves where it rates them, else pairs of images.

    Args:
        task: what the judge asks.
    """
    return ImageForm(task) if isinstance(task, RatesImages) else PairForm(task)
