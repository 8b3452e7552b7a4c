"""A term of the user's own, named by its class in a config, and a weight that changes, from the command line."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lit_listener.cli import build_cli
from lit_listener.training.rewards import Annealed
from tests.training.rewards.judging import judged, transcript

ROOT = Path(__file__).parents[3]


def written_in_the_docs() -> str:
    """The first block of Python of docs/rewards.md."""
    text = (ROOT / "docs" / "rewards.md").read_text()
    return text.split("```python\n")[1].split("```")[0]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_terms.py").write_text(written_in_the_docs())
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_terms", None)


def built(overlay: dict[str, Any], folder: Path) -> Any:
    base = yaml.safe_load((ROOT / "configs" / "shapes" / "grpo_listener.yaml").read_text())
    base["model"]["init_args"] |= overlay
    return build_cli({**base, "run_dir": str(folder)}, run=False)


def test_a_users_own_term_is_named_in_a_config(mine):
    own = {"class_path": "my_terms.NamesColours", "init_args": {"colours": ["red", "blue"], "weight": 0.2}}
    cli = built({"reward_terms": {"colours": own}}, mine / "run")
    term = cli.model.reward_terms["colours"]
    assert (type(term).__name__, term.weight, list(cli.model.reward_terms)[:3]) == (
        "NamesColours",
        0.2,
        ["format", "accuracy", "listener"],
    )
    read = [transcript("The first has a red circle."), transcript("Both are round.", 1), transcript(None, None)]
    assert torch.as_tensor(term(judged(read))).tolist() == [1.0, 0.0, 0.0]
    written = yaml.safe_load(cli.parser.dump(cli.config, skip_none=False))
    assert written["model"]["init_args"]["reward_terms"]["colours"] == own


def test_a_weight_that_changes_is_named_in_a_config(tmp_path):
    changing = {"class_path": "lit_listener.training.rewards.Annealed", "init_args": {"start": 1, "end": 0, "steps": 8}}
    penalty = {
        "class_path": "lit_listener.training.rewards.LengthPenalty",
        "init_args": {"free": 9, "weight": changing},
    }
    overlay = {"reward": {"accuracy": 0.25, "listener": changing}, "reward_terms": {"length": penalty}}
    terms = built(overlay, tmp_path).model.reward_terms
    assert isinstance(terms["listener"].weight, Annealed)
    assert [terms[name].weight_at(2) for name in terms] == [1.0, 0.25, 0.75, 0.75]
