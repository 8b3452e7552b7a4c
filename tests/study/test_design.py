from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lit_listener.study.design import Arm, Design, Ingredient, Short, read_design, shortened

BUNDLED = Path("configs/shapes/study/study.yaml")


def written(folder: Path, **changes: object) -> Path:
    (folder / "one.yaml").write_text("trainer: {max_steps: 10}")
    one = str(folder / "one.yaml")
    told = {
        "title": "A study",
        "seeds": [0, 1],
        "arms": [{"key": "plain", "name": "Plain", "configs": [one]}],
        "test_configs": [one],
        "ingredients": [{"key": "ear", "configs": [one]}],
        **changes,
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({name: value for name, value in told.items() if value is not None}))
    return file


def test_a_study_is_read_as_it_is_written(tmp_path: Path) -> None:
    one = tmp_path / "one.yaml"
    quick = {"seeds": [3], "step_share": 0.1, "test_configs": [str(one)]}
    design = read_design(written(tmp_path, quick=quick))
    assert design == Design(
        title="A study",
        seeds=[0, 1],
        arms=[Arm("plain", "Plain", [one])],
        test_configs=[one],
        ingredients=[Ingredient("ear", [one])],
        quick=Short([3], 0.1, [one]),
    )
    assert shortened(design) == replace(design, seeds=[3], short=True)


def test_an_arm_needs_the_ingredients_that_its_options_name() -> None:
    ears = [Ingredient("ear", []), Ingredient("eye", [])]
    assert Arm("a", "A", [], options={"listener.model": "{ear}"}).needs(ears) == ears[:1]
    assert Arm("a", "A", []).needs(ears) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [1, 1]}, r"study .*: .*seeds: each must be there once, got \[1, 1\]"),
        ({"seeds": []}, "at least one seed and one arm"),
        ({"seeds": ["one"]}, r"study .*seeds"),
        ({"test_configs": None}, r"study .*test_configs"),
        ({"arms": [{"key": "a", "nme": "A", "configs": []}]}, r"(?s)study .*Option 'nme' is not accepted"),
        (
            {"quick": {"seeds": [0], "step_share": 0.0, "test_configs": []}},
            r"quick\.step_share: expected a share in \(0, 1\], got 0",
        ),
        (
            {"arms": [{"key": k, "name": "A", "configs": []} for k in "ab"]},
            r"arms' names: each must be there once, got \['A', 'A'\]",
        ),
    ],
)
def test_what_is_wrong_with_a_study_is_told(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_design(written(tmp_path, **changes))


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no study .*the bundled one is configs/shapes/study"):
        read_design(tmp_path / "none.yaml")
    with pytest.raises(FileNotFoundError, match=r"there is no config nowhere\.yaml"):
        read_design(written(tmp_path, test_configs=["nowhere.yaml"]))


def test_a_study_without_a_short_form_has_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--quick: this study has no short form"):
        shortened(read_design(written(tmp_path)))


def test_the_bundled_study_has_the_arms_that_its_document_tells_of() -> None:
    design = read_design(BUNDLED)
    assert len(design.seeds) == 5
    assert [arm.key for arm in design.arms if not arm.trained] == ["instruct", "start"]
    assert {arm.key for arm in design.arms if arm.trained} == {
        "bradley_terry",
        "rating",
        "answer_sft",
        "grpo",
        "grpo_listener",
        "random_listener",
        "shuffled_listener",
        "mismatched_listener",
        "own_soft_score",
        "listener_only",
    }
