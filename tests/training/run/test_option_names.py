import pytest

from lit_listener.training.run.option_names import full_name, meant_option, nearest

KNOWN = {"model", "data", "data.train", "data.batch_size", "trainer", "trainer.max_steps", "run_dir", "samples.folder"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("rundir", "run_dir"),
        ("data.bach_size", "data.batch_size"),
        ("traner.max_steps", "trainer.max_steps"),  # the group is misspelt
        ("batch_size", "data.batch_size"),  # the group is left out
        ("modl.init_args.group_size", "model.group_size"),  # below it are options of a class
        ("trainer.zzz", None),  # alike in nothing but the group
        ("zzz", None),
    ],
)
def test_the_nearest_option(written, meant):
    assert nearest(written, KNOWN) == meant


def test_a_name_that_several_groups_have_is_not_guessed():
    assert nearest("folder", {"samples.folder", "export.folder"}) is None


@pytest.mark.parametrize(
    ("said", "name", "meant"),
    [
        ("Option 'rundir' is not accepted", "rundir", "run_dir"),
        ("Group 'data' does not accept option 'bach_size'", "data.bach_size", "data.batch_size"),
        ("Subcommand 'fit' does not accept option 'trainer.max_step'", "trainer.max_step", "trainer.max_steps"),
        ("unrecognized arguments: --run_dir x --modl y", "modl", "model"),
        ("unrecognized arguments: --data.bach_size=4", "data.bach_size", "data.batch_size"),
    ],
)
def test_each_way_of_saying_it(said, name, meant):
    assert meant_option(said, KNOWN) == f"there is no option {name}; did you mean {meant}?"


def test_where_none_is_near_those_beside_it_are_listed_unless_they_are_many():
    assert meant_option("Option 'data.zzz' is not accepted", KNOWN) == (
        "there is no option data.zzz; there are batch_size, train"
    )
    many = {f"data.{number}" for number in range(31)}
    assert meant_option("Option 'data.zzz' is not accepted", many) == "there is no option data.zzz"


def test_other_messages_stay():
    for said in ("Expected an int", "Option 'x' is not accepted before subcommand 'fit'", "unrecognized arguments: 4"):
        assert meant_option(said, KNOWN) == said
        assert full_name(said) == said


def test_an_outer_parser_adds_what_it_is_an_option_of():
    said = "model: task: there is no option templat; did you mean template?"
    assert full_name(said) == "there is no option model.task.templat; did you mean model.task.template?"
    assert full_name("model: there is no option zzz; there are a, b") == (
        "there is no option model.zzz; there are a, b"
    )
