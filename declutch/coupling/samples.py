"""Read labelled samples for the diagnostics of coupling from JSONL, one object a line.

A line has a prompt and a response, as token ids of the model that is looked at (`prompt_ids`,
`response_ids`) or as text (`prompt`, `response`), and may have a `label` (1 good, 0 bad), a
`domain` ("in" or "out"), an `episode`, an `advantage` and an `id`. What a line lacks that a
diagnostic needs, is said with the number of the line; a line that cannot be read is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from declutch.ground.contents import parse_json, read_text
from declutch.ground.errors import UserError

MAX_LISTED = 5
"""How many reasons why lines are bad a message tells."""


@dataclass(frozen=True)
class LabelledSample:
    """One of coupling's samples: a prompt, its response, and what class and domain it is of.

    Attributes:
        line: its line in the file, from 1.
        prompt_ids: i64[P], P >= 1.
        response_ids: i64[T], T >= 1.
        label: 1 good, 0 bad, None unknown.
        domain: "in", "out", or "" where the line does not say.
        episode: samples of one episode are not independent; by default every sample is its own.
        advantage: what its gradient may be weighted by, None where the line does not say.
        id: what messages and axes call it.
    """

    line: int
    prompt_ids: Tensor
    response_ids: Tensor
    label: int | None = None
    domain: str = ""
    episode: str = ""
    advantage: float | None = None
    id: str = ""

    @property
    def num_tokens(self) -> int:
        return self.prompt_ids.numel() + self.response_ids.numel()

    @property
    def num_response_tokens(self) -> int:
        return self.response_ids.numel()


@dataclass(frozen=True)
class SampleFile:
    """What coupling's samples were read as: those that can be used, and what was noticed.

    Attributes:
        samples: n usable samples in file order.
        warnings: sentences with the numbers of the lines that they are about.
    """

    samples: tuple[LabelledSample, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """What coupling's samples have to fit: a model's vocabulary, context and tokenizer.

    Attributes:
        size: token ids are below it.
        context: the most tokens of prompt and response together, None for no limit.
        tokenizer: opens the model's tokenizer when text has to be read; it may raise `UserError`.
        adds_end: end a response of text with the end token, which the model had to say, too.
    """

    size: int
    context: int | None
    tokenizer: Callable[[], Any]
    adds_end: bool = True


class _BadLineError(ValueError):
    """Why a line cannot be read."""


def read_samples(path: Path, vocabulary: Vocabulary) -> SampleFile:
    """Read coupling's labelled samples from a JSONL file; whatever is wrong is said by line.

    Samples that are longer than the model's context are left out with a warning.

    Raises:
        UserError: no file, or lines that cannot be read: the message has their numbers.
    """
    text = read_text(path, f"the samples {path}").removeprefix("\ufeff")
    reader = _Reader(vocabulary)
    found: list[LabelledSample] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found.append(reader.read(number, line))
            except _BadLineError as error:
                bad.append((number, str(error)))
    if bad:
        raise UserError(f"{path}: {describe_lines(bad)}")
    if not found:
        raise UserError(f"{path} holds no samples: write one JSON object a line")
    fitting, warnings = _leave_out_long(found, vocabulary.context)
    if not fitting:
        raise UserError(
            f"{path}: every sample is longer than the model's context of "
            f"{vocabulary.context} tokens"
        )
    return SampleFile(fitting, (*reader.warnings(), *warnings, *_repeats(fitting)))


def describe_lines(problems: Sequence[tuple[int, str]]) -> str:
    """Say what is wrong with lines of coupling's samples: "lines 3, 4: ...; and lines 7, 9"."""
    lines: dict[str, list[int]] = {}
    for number, reason in problems:
        lines.setdefault(reason, []).append(number)
    reasons = list(lines.items())
    listed = "; ".join(f"{name_lines(each)}: {reason}" for reason, each in reasons[:MAX_LISTED])
    rest = sorted(number for _, each in reasons[MAX_LISTED:] for number in each)
    return f"{listed}; and {name_lines(rest)}" if rest else listed


def name_lines(numbers: Iterable[int]) -> str:
    """Name lines of coupling's samples in a message: "line 3", or "lines 3, 4, 9"."""
    found = [str(number) for number in numbers]
    shown = found[:20]
    more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    return f"{'line' if len(found) == 1 else 'lines'} {', '.join(shown)}{more}"


class _Reader:
    """Reads lines, and remembers which gave token ids and which text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.form: dict[int, str] = {}
        self.both: list[int] = []
        self.tokenizers: dict[str, int] = {}
        self.opened: Any = None

    def read(self, number: int, line: str) -> LabelledSample:
        try:
            data = parse_json(line)
        except ValueError as error:
            # A line of the line would be taken for one of the file.
            reason = re.sub(r": line 1 column (\d+) \(char \d+\)", r" at column \1", str(error))
            raise _BadLineError(f"not JSON ({reason})") from None
        if not isinstance(data, dict):
            raise _BadLineError("not a JSON object")
        self._check_tokenizer(number, data)
        prompt, response = self._tokens(number, data)
        episode = data.get("episode")
        return LabelledSample(
            line=number,
            prompt_ids=prompt,
            response_ids=response,
            label=_label(data.get("label")),
            domain=_domain(data.get("domain")),
            episode=f"line {number}" if episode is None else f"episode {episode}",
            advantage=_advantage(data.get("advantage")),
            id=str(data["id"]) if data.get("id") is not None else f"{number}",
        )

    def warnings(self) -> Iterator[str]:
        text = [number for number, form in self.form.items() if form == "text"]
        ids = [number for number, form in self.form.items() if form == "ids"]
        if text and ids:
            fewer, form = min((text, "text"), (ids, "token ids"), key=lambda each: len(each[0]))
            yield (
                f"{name_lines(fewer)}: {form}, the others not; make sure that the token ids are of "
                "this model's own tokenizer"
            )

        if self.both:
            yield (
                f"{name_lines(self.both)}: token ids and text, of which the token ids are taken, "
                "and the text is not read"
            )

    def _check_tokenizer(self, number: int, data: dict[str, Any]) -> None:
        name = data.get("tokenizer")
        if name is None:
            return
        self.tokenizers.setdefault(str(name), number)
        (first, line), *others = self.tokenizers.items()
        if others and str(name) != first:
            raise _BadLineError(
                f"its tokenizer is {name!r}, that of line {line} is {first!r}; all samples have to "
                "be of one tokenizer"
            )

    def _tokens(self, number: int, data: dict[str, Any]) -> tuple[Tensor, Tensor]:
        forms = {
            "ids": ("prompt_ids", "response_ids"),
            "text": ("prompt", "response"),
        }
        given = [form for form, keys in forms.items() if all(key in data for key in keys)]
        if not given:
            some = sorted(key for keys in forms.values() for key in keys if key in data)
            has = f"has {', '.join(some)} alone" if some else "has neither"
            raise _BadLineError(
                f"needs prompt_ids and response_ids, or prompt and response as text; it {has}"
            )
        if len(given) == 2:
            self.both.append(number)
        self.form[number] = given[0]
        if given[0] == "ids":
            prompt, response = (self._check_ids(data[key], key) for key in forms["ids"])
        else:
            prompt, response = self._encode(data["prompt"], data["response"])
        for name, ids in (("prompt", prompt), ("response", response)):
            if not ids:
                raise _BadLineError(f"an empty {name}")
        return torch.tensor(prompt), torch.tensor(response)

    def _check_ids(self, ids: Any, key: str) -> list[int]:
        if not isinstance(ids, list) or any(type(each) is not int for each in ids):
            raise _BadLineError(f"{key} is not a list of whole numbers")
        outside = [each for each in ids if not 0 <= each < self.vocabulary.size]
        if outside:
            raise _BadLineError(
                f"{key} has the token {outside[0]}, but the model's vocabulary has "
                f"{self.vocabulary.size}; the samples must be of its own tokenizer"
            )
        return ids

    def _encode(self, prompt: Any, response: Any) -> tuple[list[int], list[int]]:
        if not isinstance(prompt, str) or not isinstance(response, str):
            raise _BadLineError("prompt and response are not both text")
        if self.opened is None:
            self.opened = self.vocabulary.tokenizer()
        encoded = [
            self.opened.encode(text, add_special_tokens=False) for text in (prompt, response)
        ]
        end = self.opened.eos_token_id
        if self.vocabulary.adds_end and end is not None and encoded[1][-1:] != [end]:
            encoded[1] = [*encoded[1], end]
        return self._check_ids(encoded[0], "prompt"), self._check_ids(encoded[1], "response")


def _label(label: Any) -> int | None:
    if label is None:
        return None
    if isinstance(label, int | float) and label in (0, 1):
        return int(label)
    raise _BadLineError(f"label is {label!r}, not 0 or 1")


def _domain(domain: Any) -> str:
    if domain is None:
        return ""
    if domain in ("in", "out"):
        return str(domain)
    raise _BadLineError(f'domain is {domain!r}, not "in" or "out"')


def _advantage(advantage: Any) -> float | None:
    if advantage is None:
        return None
    is_number = isinstance(advantage, int | float) and not isinstance(advantage, bool)
    if is_number and math.isfinite(advantage):
        return float(advantage)
    raise _BadLineError(f"advantage is {advantage!r}, not a finite number")


def _leave_out_long(
    samples: Sequence[LabelledSample], context: int | None
) -> tuple[tuple[LabelledSample, ...], tuple[str, ...]]:
    if context is None:
        return tuple(samples), ()
    long = [sample.line for sample in samples if sample.num_tokens > context]
    fitting = tuple(sample for sample in samples if sample.num_tokens <= context)
    if not long:
        return fitting, ()
    return fitting, (
        f"{name_lines(long)}: left out, because prompt and response are longer than the model's "
        f"context of {context} tokens",
    )


def _repeats(samples: Sequence[LabelledSample]) -> Iterator[str]:
    """Warn of samples that are there twice, and of names that several samples have."""
    seen: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    names: dict[str, int] = {}
    twice, alike = [], []
    for sample in samples:
        key = (tuple(sample.prompt_ids.tolist()), tuple(sample.response_ids.tolist()))
        if seen.setdefault(key, sample.line) != sample.line:
            twice.append(sample.line)
        if names.setdefault(sample.id, sample.line) != sample.line:
            alike.append(sample.line)
    if twice:
        yield (
            f"{name_lines(twice)}: the same prompt and response as an earlier line; repeated "
            "samples make populations look more alike than they are"
        )
    if alike:
        yield f"{name_lines(alike)}: an id that an earlier line has, too"
