"""Golden rules from the judge's advice, a way out of the danger zone (METHOD, section 4).

Advice is collected, sorted into themes, and each theme summed up in one rule: its most central
sentence, or what a language model makes of it. The rules go into training prompts alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from declutch.agent.codec import Codec
from declutch.agent.parse import parse_verdict
from declutch.config.judge import SuggestionsConfig
from declutch.endpoint.chat import Chat, ChatReply, ChatRequest
from declutch.errors import UserError
from declutch.judge.round import JudgeRound
from declutch.judge.themes import Embed, cluster, cosine_distances, drop_similar, find_medoid
from declutch.records import Episode, Role

MAX_SENTENCES = 3000
"""Different sentences that are clustered, the most frequent ones: their distances are a square."""
MAX_SHOWN = 40
"""Sentences of a theme that an endpoint is shown, the most frequent ones."""

_RULE = re.compile(r"<rule>(.*?)</rule>", re.DOTALL)
_MARKUP = re.compile(r"[<>\\]")


@dataclass(frozen=True)
class Advice:
    """What one judgment advised.

    Attributes:
        text: one line.
        iteration: counted from 1, as in metrics.jsonl.
        task: name of the task played.
        episode, step: what was judged, by index within the iteration and the episode.
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
    """Sentences that say much the same.

    Attributes:
        medoid: the most central sentence, each counted as often as it was given.
        advice: every piece; the sentence given most often first.
        rule: what sums it up; "" where an endpoint failed to say.
        source: where the rule comes from, "medoid" or "endpoint".
        left_out: why the rule is in no prompt; "" where it is.
    """

    medoid: str
    advice: tuple[Advice, ...]
    rule: str = ""
    source: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class Suggestions:
    """One version of the rules.

    Attributes:
        iteration: the one it was made after; its rules are shown from the next one on.
        rules: most advised first.
        themes: largest first.
        num_advice: pieces it was made of.
        silhouette: of the themes; None where it is not defined.
        note: what went wrong; "" for nothing.
        num_failures: themes the endpoint gave no rule for.
    """

    iteration: int
    rules: tuple[str, ...]
    themes: tuple[Theme, ...] = ()
    num_advice: int = 0
    silhouette: float | None = None
    note: str = ""
    num_failures: int = 0


def collect_advice(
    judged: JudgeRound, episodes: Sequence[Episode], codec: Codec, iteration: int
) -> list[Advice]:
    """The advice of all judgments that had a readable verdict and one readable line of advice."""
    found = []
    for judgment in judged.episodes:
        question = judged.questions[judgment.group]
        verdict = parse_verdict(codec.decode(judgment.steps[0].response_ids, Role.JUDGE))
        text = " ".join(verdict.advice.split())
        if verdict.value is not None and _is_readable(text):
            task = episodes[question.episode].task.name
            place = (question.episode, question.position)
            found.append(Advice(text, iteration, task, *place, verdict.value, question.label))
    return found


def select_advice(advice: Sequence[Advice], config: SuggestionsConfig) -> list[Advice]:
    """Those pieces that rules are made of."""
    return [
        piece
        for piece in advice
        if len(piece.text.split()) <= config.max_words
        and (config.advice_from == "all" or piece.verdict == piece.label)
    ]


def find_themes(
    advice: Sequence[Advice], embed: Embed, max_themes: int
) -> tuple[list[Theme], float | None]:
    """Cluster the different sentences of `advice`.

    How often a sentence was given weighs in the number of themes, in their medoids and in their
    order. Copies are not items of their own: each sentence alone would look like the best theme.

    Returns:
        Themes without a rule, those with the most advice first; the silhouette or None.
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
) -> Suggestions:
    """The next version of the rules.

    Args:
        advice: of the last iterations, as `select_advice` leaves it.
        iteration: the last of them.
        former: the rules so far, which stay where no new ones can be made.
        chat: asked for rules where `config.distill` says so.
    Raises:
        UserError: the endpoint failed and `config.on_endpoint_failure` is "stop".
    """
    themes, silhouette = find_themes(advice, embed, config.max_themes)
    if not themes:
        return Suggestions(iteration, former, note="no advice could be used: the rules stay")
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
    rules = tuple(theme.rule for theme in themes if not theme.left_out)
    note = _explain(errors, len(themes), config)
    if errors and config.on_endpoint_failure == "stop":
        raise UserError(
            f"iteration {iteration}: {note}; gcd.suggestions.on_endpoint_failure=stop ends the run "
            "here: resume it when the endpoint answers"
        )
    if not rules:
        rules, note = former, f"{note or 'no theme has enough advice'}, and the rules stay"
    return Suggestions(
        iteration, rules, (*themes, *stray), len(advice), silhouette, note, len(errors)
    )


def render_golden_rule(theme: Theme, max_words: int) -> str:
    """What an endpoint is asked about a theme."""
    texts = list(dict.fromkeys(piece.text for piece in theme.advice))[:MAX_SHOWN]
    return _template().format(
        theme=theme.medoid,
        advice="\n".join(f"- {text}" for text in texts),
        max_words=max_words,
    )


def parse_golden_rule(text: str, max_words: int) -> str:
    """The rule in a reply; "" where there is not exactly one, readable and short enough."""
    rules = [" ".join(rule.split()) for rule in _RULE.findall(text)]
    if len(rules) != 1 or not _is_readable(rules[0]) or len(rules[0].split()) > max_words:
        return ""
    return rules[0]


def _distill(
    themes: Sequence[Theme], config: SuggestionsConfig, chat: Chat
) -> tuple[list[Theme], list[str]]:
    """Themes with the endpoint's rules, and why it gave none for some."""
    replies = chat.ask(
        [
            ChatRequest(
                messages=(("user", render_golden_rule(theme, config.max_words)),),
                max_tokens=config.max_response_tokens,
            )
            for theme in themes
        ]
    )
    found, errors = [], []
    for theme, reply in zip(themes, replies, strict=True):
        rule, error = _read(reply, config.max_words)
        if not error:
            theme = replace(theme, rule=rule, source="endpoint")
        else:
            errors.append(error)
            if config.on_endpoint_failure == "fallback":
                theme = _with_medoid(theme)
            else:
                theme = replace(theme, left_out=f"no rule: {error}")
        found.append(theme)
    return found, errors


def _read(reply: ChatReply, max_words: int) -> tuple[str, str]:
    """A rule or an error."""
    if reply.text is None:
        return "", reply.error or "no reply"
    rule = parse_golden_rule(reply.text, max_words)
    return rule, "" if rule else "unreadable reply"


def _choose(themes: Sequence[Theme], config: SuggestionsConfig, embed: Embed) -> list[Theme]:
    """Leave out rules that repeat one of a larger theme, and those beyond the limit."""
    ruled = [index for index, theme in enumerate(themes) if not theme.left_out]
    if not ruled:
        return list(themes)
    vectors = embed([themes[index].rule for index in ruled])
    kept = [ruled[place] for place in drop_similar(vectors, config.max_similarity)]
    reasons = {index: "says the same as a rule above" for index in ruled if index not in kept}
    reasons |= dict.fromkeys(kept[config.max_rules :], "beyond max_rules")
    return [
        replace(theme, left_out=reasons[index]) if index in reasons else theme
        for index, theme in enumerate(themes)
    ]


def _explain(errors: Sequence[str], num_themes: int, config: SuggestionsConfig) -> str:
    """What the endpoint failed at; "" for nothing."""
    if not errors:
        return ""
    note = f"the endpoint gave no rule for {len(errors)} of {num_themes} themes ({errors[0]})"
    match config.on_endpoint_failure:
        case "skip":
            return f"{note}: they are left out"
        case "fallback":
            return f"{note}: their central sentences are taken"
        case "stop":
            return note


def _with_medoid(theme: Theme) -> Theme:
    return replace(theme, rule=theme.medoid, source="medoid")


def _is_readable(text: str) -> bool:
    """Has a letter, and nothing that a prompt or a model could take for a tag."""
    return any(sign.isalpha() for sign in text) and not _MARKUP.search(text)


@cache
def _template() -> str:
    folder = resources.files("declutch.judge") / "templates"
    return (folder / "golden_rule.txt").read_text("utf-8")
