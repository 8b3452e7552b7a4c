"""How a judge goes about its work: what requests come down to, by what its task asks about."""

from lit_listener.judging.forms.form import Form
from lit_listener.judging.forms.images import ImageForm
from lit_listener.judging.forms.lists import ListForm
from lit_listener.judging.forms.pairs import PairForm
from lit_listener.tasks import ChoosesAmongImages, RatesImages, Task

__all__ = ["Form", "ImageForm", "ListForm", "PairForm", "form_of"]


def form_of(task: Task) -> Form:
    """The form that goes with a task: images one by one where it rates them, all at once where it chooses among them.

    For all other tasks: pairs of images.

    Args:
        task: what the judge asks.
    """
    if isinstance(task, RatesImages):
        return ImageForm(task)
    return ListForm(task) if isinstance(task, ChoosesAmongImages) else PairForm(task)
