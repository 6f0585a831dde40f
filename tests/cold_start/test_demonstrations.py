"""The file of demonstrations: what is written is read, and what breaks its protocol is refused."""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from demonstrating import demonstrate

from declutch.cold_start.demonstrate import DemonstrationPlan
from declutch.cold_start.demonstrations import check_protocol, read_demonstrations
from declutch.envs.alfworld.levels import HELD_OUT_KINDS as HELD_OUT
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.ground.errors import UserError


def test_what_is_written_is_read(suite: AlfworldSuite, tmp_path: Path) -> None:
    path, told = tmp_path / "demonstrations.jsonl", []
    plan = DemonstrationPlan(7, "strict", HELD_OUT)
    written = demonstrate(suite, path, plan, lambda done, all_: told.append((done, all_)))
    header, episodes = read_demonstrations(path)
    assert header == written
    assert told == [(number, 7) for number in range(1, 8)]
    assert [path.name] == [each.name for each in tmp_path.iterdir()]
    assert header.num_steps == sum(len(episode.steps) for episode in episodes)
    assert header.num_won == sum(episode.won for episode in episodes)
    assert header.kinds == Counter(episode.task.kind for episode in episodes)
    assert json.loads(path.read_text().splitlines()[0])["protocol"] == "strict"


def test_a_file_that_breaks_its_protocol_is_refused(suite: AlfworldSuite, tmp_path: Path) -> None:
    path = tmp_path / "declared.jsonl"
    plan = DemonstrationPlan(20, "declared-share", HELD_OUT, share=0.2, max_steps=12)
    demonstrate(suite, path, plan)
    first, *rest = path.read_text().splitlines()
    for changed in ({"protocol": "strict"}, {"share": 0.1}):
        forged = tmp_path / "forged.jsonl"
        forged.write_text("\n".join([json.dumps({**json.loads(first), **changed}), *rest]) + "\n")
        with pytest.raises(UserError, match="held-out kinds"):
            read_demonstrations(forged)


def test_kinds_held_out_here_are_checked_too(strict_file: Path) -> None:
    header, episodes = read_demonstrations(strict_file)
    check_protocol(header, episodes, HELD_OUT)
    with pytest.raises(UserError, match="look_at_obj_in_light"):
        check_protocol(header, episodes, ["look_at_obj_in_light"])


def test_only_the_training_split_may_be_learned(strict_file: Path) -> None:
    header, episodes = read_demonstrations(strict_file)
    task = replace(episodes[0].task, split="valid_seen")
    with pytest.raises(UserError, match="valid_seen"):
        check_protocol(header, [replace(episodes[0], task=task), *episodes[1:]])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "line"),
        (lambda text: text.rstrip("\n").rpartition("\n")[0] + "\n", "truncated or was edited"),
        (lambda text: "", "line 1"),
        (lambda text: "[]\n" + text, "line 1.*not a JSON object"),
        (lambda text: text.replace("declutch-demonstrations/3", "other/2", 1), "other/2"),
        (lambda text: text.replace('"is_perturbed"', '"is_odd"', 1), "line 2.*is_odd"),
        (lambda text: text.replace('"seed"', '"sed"', 1), "line 1.*sed"),
    ],
)
def test_a_damaged_file_is_one_clear_error(
    strict_file: Path, tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_text(damage(strict_file.read_text()))
    with pytest.raises(UserError, match=message):
        read_demonstrations(path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl"):
        read_demonstrations(tmp_path / "none.jsonl")


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(
    suite: AlfworldSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "demonstrations.jsonl"
    path.write_text("old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=r"demonstrations\.jsonl.*No space left"):
        demonstrate(suite, path, DemonstrationPlan(2, "strict", HELD_OUT))
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["demonstrations.jsonl"]


def test_a_changed_word_is_noticed_and_files_of_the_version_before_are_read(
    strict_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "changed.jsonl"
    header, *lines = strict_file.read_text().splitlines(keepends=True)
    place = lines[0].index('"thought":"') + len('"thought":"')
    changed = lines[0][:place] + "x" + lines[0][place + 1 :]
    path.write_text("".join([header, changed, *lines[1:]]))
    with pytest.raises(UserError, match="is damaged or was edited"):
        read_demonstrations(path)
    stated = json.loads(header)
    del stated["sha256"]
    path.write_text("".join([json.dumps(stated) + "\n", *lines]))
    with pytest.raises(UserError, match="it states no sha256"):
        read_demonstrations(path)
    stated["format"] = "declutch-demonstrations/2"
    path.write_text("".join([json.dumps(stated) + "\n", *lines]))
    assert read_demonstrations(path)[1] == read_demonstrations(strict_file)[1]
