"""Which episodes fit into the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from declutch.report.episodes import encode, pack_episodes, spread_order


@settings(deadline=None)
@given(st.integers(0, 60))
def test_spread_order_is_a_permutation_from_the_ends(count: int):
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    if count > 1:
        assert order[:2] == [count - 1, 0]


def test_spread_order_halves_the_widest_gap():
    assert spread_order(9) == [8, 0, 4, 2, 6, 1, 3, 5, 7]


def write_files(folder: Path, maker: Callable[..., dict], count: int, **options) -> list:
    files = []
    for iteration in range(10, 10 * count + 1, 10):
        path = folder / f"iteration_{iteration:04d}.jsonl"
        rows = [maker(iteration, index, **options) for index in range(8)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files.append((iteration, path))
    return files


def test_everything_is_shown_where_it_fits(tmp_path: Path, episode_maker: Callable[..., dict]):
    packed = pack_episodes(write_files(tmp_path, episode_maker, 5))
    assert [chunk.iteration for chunk in packed.chunks] == [10, 20, 30, 40, 50]
    assert packed.num_shown == packed.num_saved == 40


def test_budget_keeps_the_ends(tmp_path: Path, episode_maker: Callable[..., dict]):
    files = write_files(tmp_path, episode_maker, 5)
    sizes = [len(chunk.encoded) for chunk in pack_episodes(files).chunks]
    packed = pack_episodes(files, budget=sizes[0] + sizes[-1])
    assert [chunk.iteration for chunk in packed.chunks] == [10, 50]
    assert sum(len(chunk.encoded) for chunk in packed.chunks) <= sizes[0] + sizes[-1]
    assert (packed.num_shown, packed.num_saved) == (16, 40)


def test_a_chunk_too_large_is_halved(tmp_path: Path, episode_maker: Callable[..., dict]):
    files = write_files(tmp_path, episode_maker, 1)
    half = tmp_path / "half.jsonl"
    half.write_text("".join(files[0][1].read_text().splitlines(keepends=True)[:4]))
    budget = len(pack_episodes([(10, half)]).chunks[0].encoded)
    chunk = pack_episodes(files, budget).chunks[0]
    assert (len(chunk.index), chunk.num_saved, len(chunk.encoded)) == (4, 8, budget)
    assert len(pack_episodes(files, budget - 1).chunks[0].index) == 2
    assert pack_episodes(files, budget=10).chunks == ()


def test_long_prompts_stay_within_the_budget(tmp_path: Path, episode_maker: Callable[..., dict]):
    packed = pack_episodes(write_files(tmp_path, episode_maker, 15, long_prompt=2000))
    assert sum(len(chunk.encoded) for chunk in packed.chunks) <= 2_000_000
    assert packed.num_shown == 120


@pytest.mark.parametrize("line", ["{", "[]", "null", '{"task": {}}', '{"task": 3, "steps": []}'])
def test_lines_that_are_no_episodes_are_named(tmp_path: Path, line: str):
    path = tmp_path / "iteration_0010.jsonl"
    path.write_text(line + "\n")
    packed = pack_episodes([(10, path)])
    assert packed.notes == ("Line 1 of episodes/iteration_0010.jsonl could not be read.",)
    assert packed.chunks == ()


def test_encoding_is_reproducible_and_survives_lone_surrogates():
    assert encode({"a": 1}) == encode({"a": 1})
    assert encode("\ud800")
