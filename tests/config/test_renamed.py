"""Former names of settings: one clear error from a user, a silent translation in old runs."""

from pathlib import Path

import pytest
import yaml

from declutch.config.files import dump_config, load_config, parse_config, read_dumped
from declutch.config.renamed import RENAMED, Renamed, translate_renamed
from declutch.config.run import Config
from declutch.ground.errors import UserError

ALGORITHMS = {"algorithm.combine": "rlvmr"}
"""Settings that only one algorithm has."""


def nested(key: str, value: object) -> dict:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def value_at(data: dict, key: str) -> object:
    for part in key.split("."):
        data = data[part]
    return data


def default_of(renamed: Renamed) -> object:
    """Today's default, under its former name if that has changed."""
    base = nested("algorithm.type", ALGORITHMS.get(renamed.new, "grpo"))
    base |= {"agent": {"reasoning": "meta"}}
    value = value_at(parse_config(base, "test").model_dump(mode="json"), renamed.new)
    former = {new: old for old, new in renamed.values.items()}
    return former.get(value, value)


@pytest.mark.parametrize("renamed", RENAMED, ids=lambda renamed: renamed.old)
def test_a_former_name_from_a_user_is_one_error_that_says_the_new_one(
    renamed: Renamed, tmp_path: Path
) -> None:
    path = tmp_path / "old.yaml"
    for value in renamed.values or ("x",):
        now = f"={renamed.values[value]}" if renamed.values.get(value, value) != value else ""
        told = f"{renamed.old}{f'={value}' if now else ''} is now called {renamed.new}{now}"
        with pytest.raises(UserError) as error:
            load_config(None, [f"{renamed.old}={value}"])
        assert str(error.value) == f"the command line: {told}"
        path.write_text(yaml.safe_dump(nested(renamed.old, value)))
        with pytest.raises(UserError) as error:
            load_config(path)
        assert str(error.value) == f"{path}: {told}"


@pytest.mark.parametrize("renamed", RENAMED, ids=lambda renamed: renamed.old)
def test_what_a_former_version_wrote_reads_as_if_written_today(
    renamed: Renamed, tmp_path: Path
) -> None:
    kind = ALGORITHMS.get(renamed.new, "grpo")
    config = load_config(None, [f"algorithm.type={kind}", "agent.reasoning=meta"])
    data = yaml.safe_load(dump_config(config))
    *path, last = renamed.new.split(".")
    section = value_at(data, ".".join(path))
    section[renamed.old.rpartition(".")[2]] = default_of(renamed)
    del section[last]
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(data))
    assert parse_config(read_dumped(file), "test") == config
    for old, new in renamed.values.items():
        translated = translate_renamed(nested(renamed.old, old))
        assert translated == nested(renamed.new, new)


def test_several_former_names_are_one_error() -> None:
    with pytest.raises(UserError) as error:
        parse_config({"sft": {"demos": "a", "guided_share": 0.5}}, "old.yaml")
    assert str(error.value) == (
        "old.yaml: sft.demos is now called sft.demonstrations; "
        "sft.guided_share is now called sft.suggestion_share"
    )


def test_translation_changes_neither_its_argument_nor_anything_else() -> None:
    data = {"sft": {"demos": "a", "lr": 1.0}, "seed": 3, "nonsense": [1]}
    assert translate_renamed(data) == {
        "sft": {"demonstrations": "a", "lr": 1.0},
        "seed": 3,
        "nonsense": [1],
    }
    assert data["sft"] == {"demos": "a", "lr": 1.0}
    assert translate_renamed(Config().model_dump()) == Config().model_dump()


def test_a_run_from_before_a_setting_goes_on_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    now = dump_config(Config())
    file.write_text(now)
    assert parse_config(read_dumped(file), "test").optimizer.shuffle == "prompts"
    before = "".join(line for line in now.splitlines(keepends=True) if "shuffle:" not in line)
    assert before != now
    file.write_text(before)
    assert parse_config(read_dumped(file), "test").optimizer.shuffle == "samples"
    file.write_text("train: {iterations: 3}\n")
    assert parse_config(read_dumped(file), "test").optimizer.shuffle == "prompts"
