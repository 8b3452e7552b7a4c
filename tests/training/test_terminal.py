"""The progress bar's words and length."""

from types import SimpleNamespace

import pytest

from lit_listener.training.terminal import StepProgressBar


def bar(**given: int) -> StepProgressBar:
    """A bar over a training of ``max_steps``, or ``max_epochs`` of 100 batches."""
    made = StepProgressBar()
    made._trainer = SimpleNamespace(  # type: ignore[assignment]
        max_steps=given.get("max_steps", -1),
        max_epochs=given.get("max_epochs", -1),
        global_step=given.get("global_step", 0),
        num_training_batches=100,
        lightning_module=SimpleNamespace(optimizer_steps_per_batch=given.get("steps_per_batch", 1)),
        fit_loop=SimpleNamespace(
            epoch_loop=SimpleNamespace(
                batch_progress=SimpleNamespace(current=SimpleNamespace(completed=given.get("done", 0)))
            )
        ),
    )
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_epochs": 2}, 100),
        ({"max_steps": 30}, 30),
        ({"max_steps": 500}, 100),
        ({"max_steps": 30, "steps_per_batch": 4}, 8),  # the eighth batch reaches step 32
        ({"max_steps": 230, "global_step": 200}, 30),  # the third epoch
        ({"max_steps": 130, "global_step": 40, "done": 40}, 100),  # gone on with in the middle of the first
        ({"max_steps": 130, "global_step": 110, "done": 10}, 30),
    ],
)
def test_the_bar_ends_where_training_will(given, expected):
    assert bar(**given).total_train_batches == expected


def test_epochs_are_told_only_where_they_are_counted():
    assert bar(max_steps=30)._get_train_description(0).strip() == "Training"
    assert bar(max_epochs=3)._get_train_description(1).strip() == "Epoch 1/2"


def test_the_table_of_results_stands_below_the_bar():
    made = bar()
    said = []
    made.progress = SimpleNamespace(stop=lambda: said.append("closed"))  # type: ignore[assignment]
    made.on_test_end(made.trainer, made.trainer.lightning_module)
    assert said == ["closed"]
