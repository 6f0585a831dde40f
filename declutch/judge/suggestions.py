"""Make suggestions for training prompts from the advice that the judge gave on single steps.

The advice is collected and sorted into themes, and each theme is summed up in one suggestion: its
most central sentence, or what a language model makes of all of them. Suggestions stand in training
prompts and never in those of an evaluation. They are meant to lead the agent away from bad actions
that have become likely because they resemble good ones (GC, the "danger zone").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from declutch.agent.codec import Codec
from declutch.agent.parse import parse_verdict
from declutch.config.judge import SuggestionsConfig
from declutch.endpoint.chat import Chat, ChatReply, ChatRequest
from declutch.ground.errors import UserError
from declutch.judge.round import JudgeRound
from declutch.judge.themes import Embed, cluster, cosine_distances, drop_similar, find_medoid
from declutch.records import Episode, Role

MAX_SENTENCES = 3000
"""How many different sentences are clustered, the most frequent ones: the memory for the distances
between them grows with the square of their number."""
MAX_SHOWN = 40
"""How many sentences of a theme an endpoint is shown, the most frequent ones."""

# The papers' word for a suggestion in the question that an endpoint is asked.
_SUGGESTION = re.compile(r"<rule>(.*?)</rule>", re.DOTALL)
# Tags, and the marks of turns that some tokenizers read wherever they stand, such as [INST].
_MARKUP = re.compile(r"[<>\\]|\[/?[A-Z_]{2,}\]")
LONGEST_ADVICE = 1000
"""Characters that advice may have; what is longer is no advice on one step."""
LONGEST_WORD = 40
"""Characters that a word of advice may have; what is longer is none."""


@dataclass(frozen=True)
class Advice:
    """What the judge advised in one judgment of a step, for suggestions to be made of.

    Attributes:
        text: the advice, on one line.
        iteration: of the training run, counted from 1 as in metrics.jsonl.
        task: name of the task that was played.
        episode, step: which step was judged, by index within the iteration and the episode.
        verdict: 1 good, 0 bad.
        label: what the verdict should have been.
    """

    text: str
    iteration: int
    task: str
    episode: int
    step: int
    verdict: int
    label: int | None


@dataclass(frozen=True)
class Theme:
    """Advice that says much the same, with the suggestion that was made of it.

    Attributes:
        medoid: the most central sentence, each counted as often as it was given.
        advice: every piece; those of the sentence that was given most often come first.
        suggestion: what sums the theme up; "" where an endpoint failed to say.
        source: where the suggestion comes from, "medoid" or "endpoint".
        left_out: why the suggestion is in no prompt; "" where it is in one.
    """

    medoid: str
    advice: tuple[Advice, ...]
    suggestion: str = ""
    source: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class SuggestionsVersion:
    """A version of the suggestions made from the judge's advice, with the themes behind it.

    Attributes:
        iteration: after which it was made; prompts show it from the next iteration on.
        suggestions: the most advised first.
        themes: the largest first.
        num_advice: how many pieces of advice it was made of.
        silhouette: of the themes, in [-1, 1]; None where it is not defined.
        note: what went wrong; "" for nothing.
        num_failures: how many themes the endpoint gave no suggestion for.
    """

    iteration: int
    suggestions: tuple[str, ...]
    themes: tuple[Theme, ...] = ()
    num_advice: int = 0
    silhouette: float | None = None
    note: str = ""
    num_failures: int = 0


def collect_advice(
    judged: JudgeRound, episodes: Sequence[Episode], codec: Codec, iteration: int
) -> list[Advice]:
    """Collect the judge's advice for suggestions: one line each, of judgments with a verdict.

    Judgments without a readable verdict, or without one line of advice, are left out.
    """
    found = []
    for judgment in judged.episodes:
        question = judged.questions[judgment.group]
        verdict = parse_verdict(codec.decode(judgment.steps[0].response_ids, Role.JUDGE))
        text = _clean(verdict.advice)
        if verdict.value is not None and _is_readable(text):
            task = episodes[question.episode].task.name
            place = (question.episode, question.position)
            found.append(Advice(text, iteration, task, *place, verdict.value, question.label))
    return found


def select_advice(advice: Sequence[Advice], config: SuggestionsConfig) -> list[Advice]:
    """Select the pieces of advice that suggestions are made of: short, of the wanted judgments."""
    return [
        piece
        for piece in advice
        if len(piece.text.split()) <= config.max_words
        and (config.advice_from == "all" or piece.verdict == piece.label)
    ]


def find_themes(
    advice: Sequence[Advice], embed: Embed, max_themes: int
) -> tuple[list[Theme], float | None]:
    """Make suggestions of advice, first step: what says much the same belongs together.

    How often a sentence was given weighs in the number of themes, in their medoids and in their
    order. Copies of a sentence are not clustered as items of their own, since the best clustering
    would then be one theme for each sentence.

    Returns:
        Themes without a suggestion, those with the most advice first; the silhouette or None.
    """
    by_text: dict[str, list[Advice]] = {}
    for piece in advice:
        by_text.setdefault(piece.text, []).append(piece)
    ordered = sorted(by_text.items(), key=lambda item: -len(item[1]))[:MAX_SENTENCES]
    if not ordered:
        return [], None
    distances = cosine_distances(embed([text for text, _ in ordered]))
    weights = [len(pieces) for _, pieces in ordered]
    labels, silhouette = cluster(distances, weights, max_themes)
    themes = []
    for label in range(max(labels) + 1):
        members = [index for index, own in enumerate(labels) if own == label]
        counts = [weights[index] for index in members]
        medoid = members[find_medoid(distances[members][:, members], counts)]
        pieces = tuple(piece for index in members for piece in ordered[index][1])
        themes.append(Theme(ordered[medoid][0], pieces))
    return sorted(themes, key=lambda theme: -len(theme.advice)), silhouette


def make_suggestions(
    advice: Sequence[Advice],
    iteration: int,
    former: tuple[str, ...],
    config: SuggestionsConfig,
    embed: Embed,
    chat: Chat | None,
) -> SuggestionsVersion:
    """Make suggestions, the next version of a run's, out of the judge's advice.

    Args:
        advice: of the last iterations, as `select_advice` leaves it.
        iteration: the last of them.
        former: the suggestions so far, which stay where no new ones can be made.
        embed: makes the vectors that sentences are compared by.
        chat: asked for suggestions where `config.distill` says so.
    Raises:
        UserError: the endpoint failed and `config.on_endpoint_failure` is "stop".
    """
    themes, silhouette = find_themes(advice, embed, config.max_themes)
    if not themes:
        note = "no advice could be used: the suggestions stay"
        return SuggestionsVersion(iteration, former, note=note)
    least = config.min_share * len(advice)
    stray = [replace(t, left_out="too little advice") for t in themes if len(t.advice) < least]
    themes = themes[: len(themes) - len(stray)]
    errors: list[str] = []
    if config.distill == "medoid":
        themes = [_with_medoid(theme) for theme in themes]
    elif chat is None:
        raise UserError("gcd.suggestions.distill=endpoint, but there is no endpoint to ask")
    else:
        themes, errors = _distill(themes, config, chat)
    themes = _choose(themes, config, embed)
    suggestions = tuple(theme.suggestion for theme in themes if not theme.left_out)
    note = _explain(errors, len(themes), config)
    if errors and config.on_endpoint_failure == "stop":
        raise UserError(
            f"iteration {iteration}: {note}; gcd.suggestions.on_endpoint_failure=stop ends the run "
            "here: resume it when the endpoint answers"
        )
    if not suggestions:
        suggestions = former
        note = f"{note or 'no theme has enough advice'}, and the suggestions stay"
    return SuggestionsVersion(
        iteration, suggestions, (*themes, *stray), len(advice), silhouette, note, len(errors)
    )


def render_theme(theme: Theme, max_words: int) -> str:
    """Render the question by which an endpoint makes a suggestion of a theme of advice."""
    texts = list(dict.fromkeys(piece.text for piece in theme.advice))[:MAX_SHOWN]
    return _template().format(
        theme=theme.medoid,
        advice="\n".join(f"- {text}" for text in texts),
        max_words=max_words,
    )


def parse_suggestion(text: str, max_words: int) -> str:
    """Read the suggestion in an endpoint's reply that sums up a theme of the judge's advice.

    Returns:
        "" where there is not exactly one, readable and of at most `max_words` words.
    """
    found = [_clean(words) for words in _SUGGESTION.findall(text)]
    if len(found) != 1 or not _is_readable(found[0]) or len(found[0].split()) > max_words:
        return ""
    return found[0]


def _distill(
    themes: Sequence[Theme], config: SuggestionsConfig, chat: Chat
) -> tuple[list[Theme], list[str]]:
    """Themes with the endpoint's suggestions, and for some the error that left them without."""
    replies = chat.ask(
        [
            ChatRequest(
                messages=(("user", render_theme(theme, config.max_words)),),
                max_tokens=config.max_response_tokens,
            )
            for theme in themes
        ]
    )
    found, errors = [], []
    for theme, reply in zip(themes, replies, strict=True):
        suggestion, error = _read(reply, config.max_words)
        if not error:
            theme = replace(theme, suggestion=suggestion, source="endpoint")
        else:
            errors.append(error)
            if config.on_endpoint_failure == "fallback":
                theme = _with_medoid(theme)
            else:
                theme = replace(theme, left_out=f"no suggestion: {error}")
        found.append(theme)
    return found, errors


def _read(reply: ChatReply, max_words: int) -> tuple[str, str]:
    """The suggestion in a reply and "", or "" and why there is none."""
    if reply.text is None:
        return "", reply.error or "no reply"
    suggestion = parse_suggestion(reply.text, max_words)
    return suggestion, "" if suggestion else "unreadable reply"


def _choose(themes: Sequence[Theme], config: SuggestionsConfig, embed: Embed) -> list[Theme]:
    """Leave out suggestions that repeat one of a larger theme, and those beyond the limit."""
    given = [index for index, theme in enumerate(themes) if not theme.left_out]
    if not given:
        return list(themes)
    vectors = embed([themes[index].suggestion for index in given])
    kept = [given[place] for place in drop_similar(vectors, config.max_similarity)]
    repeats = [index for index in given if index not in kept]
    reasons = dict.fromkeys(repeats, "says the same as a suggestion above")
    reasons |= dict.fromkeys(kept[config.max_suggestions :], "beyond max_suggestions")
    return [
        replace(theme, left_out=reasons[index]) if index in reasons else theme
        for index, theme in enumerate(themes)
    ]


def _explain(errors: Sequence[str], num_themes: int, config: SuggestionsConfig) -> str:
    """Say how many themes the endpoint failed at, and what is done about it; "" for none."""
    if not errors:
        return ""
    note = f"the endpoint gave no suggestion for {len(errors)} of {num_themes} themes ({errors[0]})"
    match config.on_endpoint_failure:
        case "skip":
            return f"{note}: they are left out"
        case "fallback":
            return f"{note}: their central sentences are taken"
        case "stop":
            return note


def _with_medoid(theme: Theme) -> Theme:
    return replace(theme, suggestion=theme.medoid, source="medoid")


def _is_readable(text: str) -> bool:
    """Has a letter, is short, and has nothing that a prompt or a model could take for a tag."""
    return (
        len(text) <= LONGEST_ADVICE
        and all(len(word) <= LONGEST_WORD for word in text.split())
        and any(sign.isalpha() for sign in text)
        and not _MARKUP.search(text)
    )


def _clean(text: str) -> str:
    """One line without characters that show nothing and do something, or that no font has."""
    kept = (sign for sign in text if sign.isspace() or unicodedata.category(sign)[0] != "C")
    return " ".join("".join(kept).split())


@cache
def _template() -> str:
    folder = resources.files("declutch.judge") / "templates"
    return (folder / "sum_up_theme.txt").read_text("utf-8")
