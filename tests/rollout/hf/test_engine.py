"""The engine against a plain forward pass over prompt and response, for several architectures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
)

from declutch.ground.errors import UserError
from declutch.models.capabilities import can_fuse_now
from declutch.records import ActionMask, Completion, Request, SamplingParams
from declutch.rollout.hf import slot_decoder
from declutch.rollout.hf.engine import HFEngine
from declutch.rollout.hf.stepper import swap_out

VOCAB, PAD, STOP, OTHER_STOP, TRIGGER, CLOSE = 61, 0, 1, 2, 3, 4
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
CONFIGS = {
    "qwen2": lambda: Qwen2Config(num_key_value_heads=2, **SMALL),
    "llama": lambda: LlamaConfig(num_key_value_heads=4, **SMALL),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64,
        bos_token_id=None, eos_token_id=None,
    ),
    # Attention windows shorter than the prompts, in every layer and in some.
    "mistral": lambda: MistralConfig(num_key_value_heads=2, sliding_window=7, **SMALL),
    "gemma3": lambda: Gemma3TextConfig(
        num_key_value_heads=2, head_dim=8, sliding_window=7,
        layer_types=["sliding_attention", "full_attention"], **SMALL,
    ),
    "mamba": lambda: MambaConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2),
}  # fmt: skip
PARAMS = SamplingParams(
    temperature=0.7,
    max_tokens=12,
    stop_ids=(STOP, OTHER_STOP),
    forced_after=((CLOSE, TRIGGER), *((token, CLOSE) for token in range(30, 45))),
)


def make_model(name: str = "qwen2", attention: str = "sdpa") -> PreTrainedModel:
    torch.manual_seed(0)
    kind = {} if name == "mamba" else {"attn_implementation": attention}
    model = AutoModelForCausalLM.from_config(CONFIGS[name](), **kind)
    with torch.no_grad():
        # Fresh weights hardly attend to anything; these make every position count.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model.eval()


def make_requests(count: int, seed: int = 0) -> list[Request]:
    """Prompts of many lengths; some begin alike, some are equal, most have a mask."""
    rng = Random(seed)
    head = [rng.randrange(5, VOCAB) for _ in range(24)]
    requests: list[Request] = []
    for _ in range(count):
        tail = [rng.randrange(5, VOCAB) for _ in range(rng.randrange(1, 12))]
        prompt = torch.tensor(head[: rng.choice([0, 9, 24])] + tail)
        bodies = {
            tuple(rng.choice((5, 6)) if i != 1 else 7 for i in range(rng.randrange(1, 6)))
            for _ in range(6)
        }
        mask = ActionMask(TRIGGER, tuple((*body, STOP) for body in sorted(bodies)))
        request = Request(prompt, mask if rng.random() < 0.8 else None)
        requests += [request] * rng.choice([1, 1, 3])
    return requests


def generate(
    model: PreTrainedModel,
    requests: Sequence[Request],
    params: SamplingParams = PARAMS,
    seed: int = 0,
    **options,
) -> list[Completion]:
    engine = HFEngine(model, PAD, **options)
    return engine.generate(requests, params, seed)


def allowed_by_definition(
    request: Request, tokens: list[int], params: SamplingParams
) -> list[tuple[int, ...] | None]:
    """What may stand at each place of a response, from the protocol's words alone."""
    result: list[tuple[int, ...] | None] = []
    opened: int | None = None
    for place in range(len(tokens)):
        before = tokens[:place]
        if opened is None and request.mask and before and before[-1] == request.mask.trigger_id:
            opened = place
        if opened is not None and request.mask:
            path = tuple(before[opened:])
            fitting = [s for s in request.mask.sequences if s[: len(path)] == path]
            result.append(tuple(sorted({s[len(path)] for s in fitting})))
        elif not before:
            result.append(params.first_ids or None)
        else:
            followers = [b for a, b in params.forced_after if before and before[-1] == a]
            result.append(tuple(followers) or None)
    return result


def check(
    model: PreTrainedModel,
    requests: Sequence[Request],
    completions: Sequence[Completion],
    params: SamplingParams = PARAMS,
) -> None:
    """Every field of every completion, against one plain forward pass each."""
    assert len(requests) == len(completions)
    for request, completion in zip(requests, completions, strict=True):
        tokens = completion.token_ids.tolist()
        allowed = allowed_by_definition(request, tokens, params)
        if request.mask is None and not any(allowed):
            assert completion.allowed_ids == ()
        else:
            assert completion.allowed_ids == tuple(allowed)
        assert not set(tokens[:-1]) & set(params.stop_ids)
        assert completion.is_truncated == (tokens[-1] not in params.stop_ids)
        assert len(tokens) == params.max_tokens or not completion.is_truncated
        expected = plain_logprobs(model, request, completion, allowed, params)
        torch.testing.assert_close(completion.logprobs, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def plain_logprobs(
    model: PreTrainedModel,
    request: Request,
    completion: Completion,
    allowed: Sequence[tuple[int, ...] | None],
    params: SamplingParams,
) -> Tensor:
    ids = torch.cat([request.prompt_ids, completion.token_ids[:-1]])
    logits = model(input_ids=ids[None], use_cache=False).logits[0, -len(allowed) :]
    scores = logits / (params.temperature or 1.0)
    for place, choices in enumerate(allowed):
        if choices is not None:
            others = sorted(set(range(VOCAB)) - set(choices))
            scores[place, others] = -torch.inf
    logprobs = scores.log_softmax(-1)
    return logprobs.gather(1, completion.token_ids[:, None])[:, 0]


@pytest.fixture
def eager_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share even the shortest prefix, so that small prompts go through every path."""
    monkeypatch.setattr(slot_decoder, "PREFIX_OVERHEAD_TOKENS", 1)


@pytest.mark.usefixtures("eager_sharing")
@pytest.mark.filterwarnings("ignore:GPT2LMHeadModel with attention 'eager'")
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["qwen2", "llama", "gpt2", "mistral", "gemma3"])
def test_log_probabilities_are_those_of_a_plain_forward(name: str, attention: str) -> None:
    model, requests = make_model(name, attention), make_requests(14)
    engine = HFEngine(model, PAD, prefill_tokens=64)
    assert engine.reuses_cache or attention == "eager"
    check(model, requests, engine.generate(requests, PARAMS))


def test_a_recurrent_model_is_exact_too_and_says_that_it_is_slow() -> None:
    model, requests = make_model("mamba"), make_requests(8)
    with pytest.warns(UserWarning, match="whole sequences anew"):
        engine = HFEngine(model, PAD)
    assert not engine.reuses_cache
    check(model, requests, engine.generate(requests, PARAMS))


@pytest.mark.usefixtures("eager_sharing")
@pytest.mark.parametrize(
    "options",
    [
        {"max_batch": 1},
        {"max_batch": 5},
        {"max_cache_bytes": 40_000},
        {"prefill_tokens": 4},
        {"share_prefixes": False},
        {"jump_forward": False},
    ],
    ids=str,
)
def test_how_the_work_is_divided_changes_nothing_but_rounding(options) -> None:
    model, requests = make_model(), make_requests(10, seed=3)
    check(model, requests, generate(model, requests, **options))
    greedy = SamplingParams(0.0, 12, (STOP, OTHER_STOP), forced_after=PARAMS.forced_after)
    for one, other in zip(
        generate(model, requests, greedy), generate(model, requests, greedy, **options), strict=True
    ):
        assert one.token_ids.equal(other.token_ids)
        assert one.allowed_ids == other.allowed_ids


@pytest.mark.parametrize("first_ids", [(5, 9, 30, CLOSE), (31,)])
@pytest.mark.parametrize("jump_forward", [True, False])
def test_a_response_begins_with_what_it_may(first_ids: tuple[int, ...], jump_forward: bool) -> None:
    model, requests = make_model(), make_requests(14)
    params = replace(PARAMS, first_ids=first_ids)
    completions = generate(model, requests, params, jump_forward=jump_forward)
    check(model, requests, completions, params)
    assert {int(c.token_ids[0]) for c in completions} <= set(first_ids)


def test_long_responses_outgrow_the_first_cache() -> None:
    model = make_model()
    params = SamplingParams(1.0, 180, ())
    requests = [Request(torch.arange(5, 5 + n)) for n in (3, 40, 41)]
    completions = generate(model, requests, params)
    assert max(c.token_ids.numel() for c in completions) > 64 + 41
    check(model, requests, completions, params)


def test_temperature_zero_is_the_most_likely_sequence() -> None:
    model, params = make_model(), SamplingParams(0.0, 9, (STOP,), top_p=0.3)
    requests = [Request(torch.tensor(prompt)) for prompt in ([7, 8, 9], [11], [12, 13])]
    completions = generate(model, requests, params)
    for request, completion in zip(requests, completions, strict=True):
        ids = request.prompt_ids
        while len(ids) < len(request.prompt_ids) + 9 and ids[-1] != STOP:
            with torch.no_grad():
                best = model(input_ids=ids[None]).logits[0, -1].argmax()
            ids = torch.cat([ids, best[None]])
        assert completion.token_ids.equal(ids[len(request.prompt_ids) :])
    check(model, requests, completions, params)


def test_frequencies_follow_the_model() -> None:
    model, params = make_model(), SamplingParams(1.3, 1, (STOP,), top_p=0.9)
    prompt = torch.tensor([7, 8, 9])
    completions = generate(model, [Request(prompt)] * 6000, params, max_batch=6000)
    drawn = torch.cat([c.token_ids for c in completions]).bincount(minlength=VOCAB) / 6000
    with torch.no_grad():
        expected = (model(input_ids=prompt[None]).logits[0, -1] / 1.3).softmax(-1)
    ranked = expected.sort(descending=True)
    outside = ranked.indices[ranked.values.cumsum(0) - ranked.values >= 0.9]
    expected[outside] = 0
    expected /= expected.sum()
    # Three standard errors of the largest share.
    assert (drawn - expected).abs().max() < 3 * 0.5 / 6000**0.5
    for completion in completions[:50]:
        token = int(completion.token_ids)
        assert completion.logprobs.exp().item() == pytest.approx(expected[token].item(), abs=1e-5)


def test_the_same_generator_state_gives_the_same_completions() -> None:
    model, requests = make_model(), make_requests(12)

    def tokens(seed: int) -> list[list[int]]:
        return [c.token_ids.tolist() for c in generate(model, requests, seed=seed)]

    assert tokens(5) == tokens(5)
    assert tokens(5) != tokens(6)


def test_a_source_of_chance_of_its_own_makes_a_response_independent_of_the_others() -> None:
    engine = HFEngine(make_model(), PAD, max_batch=4)

    requests = [replace(r, seed=i) for i, r in enumerate(make_requests(10))]
    together = engine.generate(requests, PARAMS)
    for index, request in enumerate(requests):
        (alone,) = engine.generate([request], PARAMS, 99)
        assert alone.token_ids.tolist() == together[index].token_ids.tolist()
        torch.testing.assert_close(alone.logprobs, together[index].logprobs, rtol=1e-4, atol=1e-4)
    assert len({tuple(each.token_ids.tolist()) for each in together}) > 5


def test_nothing_is_remembered_but_the_weights() -> None:
    model, requests = make_model(), make_requests(12)
    engine = HFEngine(model, PAD)
    before = engine.generate(requests, PARAMS, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    after = engine.generate(requests, PARAMS, 1)
    check(model, requests, after)
    assert any(not torch.equal(a.logprobs, b.logprobs) for a, b in zip(before, after, strict=True))


class Recorder:
    """Shapes and tokens of every forward pass of a model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.inputs: list[Tensor] = []
        model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, module, args, kwargs) -> None:
        self.inputs.append(kwargs["input_ids"])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [tuple(ids.shape) for ids in self.inputs]


@torch.no_grad()
def prompt_with_plain_answer(model: PreTrainedModel) -> Tensor:
    """A prompt whose most likely next token is neither a tag nor a stop."""
    for first in range(10, VOCAB - 2):
        prompt = torch.arange(first, first + 3)
        if int(model(input_ids=prompt[None]).logits[0, -1].argmax()) > CLOSE:
            return prompt
    raise AssertionError("the model answers every prompt with a tag")


def test_forced_tokens_cost_no_pass_of_their_own() -> None:
    # One free token, then everything is forced but one choice: two passes in all.
    model = make_model()
    forced = tuple((token, CLOSE) for token in range(VOCAB) if token not in (STOP, TRIGGER, CLOSE))
    params = SamplingParams(0.0, 20, (STOP,), forced_after=(*forced, (CLOSE, TRIGGER)))
    mask = ActionMask(TRIGGER, ((8, 9, 10, STOP), (8, 9, 11, 12, 13, STOP)))
    request = Request(prompt_with_plain_answer(model), mask)
    recorder = Recorder(model)
    (completion,) = generate(model, [request], params)
    tokens = completion.token_ids.tolist()
    assert tokens[1:5] == [CLOSE, TRIGGER, 8, 9]
    assert tokens[5] in (10, 11)
    assert recorder.shapes == [(1, 3), (1, 5)]
    assert recorder.inputs[1].tolist() == [tokens[:5]]
    zeros = [logprob == 0 for logprob in completion.logprobs.tolist()]
    assert zeros == [False, True, True, True, True, False, *([True] * (len(tokens) - 6))]
    assert completion.allowed_ids[:6] == (None, (CLOSE,), (TRIGGER,), (8,), (9,), (10, 11))


def test_equal_prompts_are_computed_once() -> None:
    model = make_model()
    recorder = Recorder(model)
    params = SamplingParams(1.0, 1, (STOP,))
    generate(model, [Request(torch.arange(10, 40))] * 8, params)
    assert recorder.shapes == [(1, 30)]


def test_a_long_shared_beginning_is_computed_once() -> None:
    model = make_model()
    recorder = Recorder(model)
    head = torch.arange(5, 45)
    requests = [
        Request(torch.cat([head + 10 * group, torch.tensor([member, 50])]))
        for group in range(2)
        for member in range(8)
    ]
    completions = generate(model, requests, SamplingParams(1.0, 1, (STOP,)))
    assert recorder.shapes == [(2, 40), (16, 2)]
    check(model, requests, completions, SamplingParams(1.0, 1, (STOP,)))


def test_finished_rows_are_not_computed() -> None:
    model, requests = make_model(), make_requests(16, seed=1)
    recorder = Recorder(model)
    completions = generate(model, requests, jump_forward=False, prefill_tokens=10_000)
    lengths = [c.token_ids.numel() for c in completions]
    decoding = [shape for shape in recorder.shapes if shape[1] == 1][-max(lengths) + 1 :]
    assert [rows for rows, _ in decoding] == [
        sum(length > passes for length in lengths) for passes in range(1, max(lengths))
    ]


def test_a_masked_action_that_does_not_fit_is_truncated() -> None:
    mask = ActionMask(TRIGGER, ((8, 9, 10, 11, 12, STOP),))
    params = SamplingParams(0.0, 4, (STOP,), forced_after=tuple((i, TRIGGER) for i in range(61)))
    model = make_model()
    (completion,) = generate(model, [Request(prompt_with_plain_answer(model), mask)], params)
    assert completion.token_ids.tolist()[1:] == [TRIGGER, 8, 9]
    assert completion.is_truncated


def test_modes_are_put_back_module_by_module() -> None:
    model = make_model("gpt2").train()
    frozen = next(module for module in model.modules() if isinstance(module, torch.nn.Dropout))
    frozen.eval()
    before = [module.training for module in model.modules()]
    requests = make_requests(4)
    completions = generate(model, requests)
    assert [module.training for module in model.modules()] == before
    check(model.eval(), requests, completions)


def test_completions_can_be_learned_from() -> None:
    (completion,) = generate(make_model(), [Request(torch.tensor([20, 21]))])
    weight = torch.ones(1, requires_grad=True)
    (weight * completion.logprobs).sum().backward()
    assert weight.grad is not None
    assert completion.token_ids.dtype == torch.int64
    assert completion.logprobs.dtype == torch.float32


@pytest.mark.parametrize("name", ["qwen2", "gpt2"])
def test_the_libraries_warn_of_nothing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(generate(make_model(name), make_requests(3))) >= 3


def test_no_requests_give_no_completions() -> None:
    assert generate(make_model(), []) == []


def test_diverged_weights_are_one_clear_message_and_leave_nothing_behind() -> None:
    model, requests = make_model(), make_requests(6)
    engine = HFEngine(model, PAD)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(UserError, match="not finite"):
        engine.generate(requests, PARAMS)
    model.load_state_dict(weights)
    check(model, requests, engine.generate(requests, PARAMS))


def test_a_prompt_beyond_the_models_positions_is_refused() -> None:
    model = make_model("gpt2")
    long = Request(torch.full((54,), 7))
    with pytest.raises(UserError, match=r"54 tokens .* 64 positions"):
        generate(model, [long])
    fitting = [Request(torch.full((53,), 7)), Request(torch.tensor([8]))]
    check(model, fitting, generate(model, fitting))


@pytest.mark.parametrize(
    ("request_", "params", "message"),
    [
        (Request(torch.tensor([], dtype=torch.long)), PARAMS, "at least one token"),
        (Request(torch.tensor([5])), SamplingParams(-1.0, 4, (STOP,)), "impossible"),
        (Request(torch.tensor([5])), SamplingParams(1.0, 0, (STOP,)), "impossible"),
        (Request(torch.tensor([5])), SamplingParams(1.0, 4, (STOP,), top_p=0.0), "impossible"),
        (
            Request(torch.tensor([5])),
            SamplingParams(1.0, 4, (STOP,), forced_after=((5, 6), (5, 7))),
            "two forced",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused(request_, params, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=message):
            generate(make_model(), [request_], params)


@given(st.lists(st.booleans(), max_size=20))
def test_rows_move_forward_only_into_holes(is_done: list[bool]) -> None:
    kept = swap_out(is_done)
    assert sorted(kept) == [i for i, done in enumerate(is_done) if not done]
    assert all(old == new or (old >= len(kept) and is_done[new]) for new, old in enumerate(kept))


def test_changed_weights_are_sampled_from_without_a_copy() -> None:
    model = make_model()
    engine = HFEngine(model, PAD)
    params = SamplingParams(0.0, 6, ())
    requests = [Request(torch.tensor([3, 4, 5]))]

    def sample() -> list[int]:
        return engine.generate(requests, params)[0].token_ids.tolist()

    before = sample()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    engine.sync(model)
    fresh = HFEngine(model, PAD).generate(requests, params)[0]
    assert sample() == fresh.token_ids.tolist() != before
    with pytest.raises(ValueError, match="the module it was made with"):
        engine.sync(make_model())


@pytest.mark.parametrize("how", ["foreach", "fused", "single", "data", "swap", "load"])
def test_every_change_of_the_weights_is_sampled_from(how: str) -> None:
    """Where the decoder multiplies with fused weights, these are never older than the model's."""
    model = make_model()
    engine = HFEngine(model, PAD)
    assert can_fuse_now(model)
    params = SamplingParams(1.0, 6, ())
    requests = [Request(torch.tensor([3, 4, 5, 6])), Request(torch.tensor([3, 4, 9]))]
    for seed in range(3):
        found = engine.generate(requests, params, seed)
        for request, completion in zip(requests, found, strict=True):
            free = [None] * len(completion.token_ids)
            expected = plain_logprobs(model, request, completion, free, params)
            torch.testing.assert_close(completion.logprobs, expected, atol=1e-5, rtol=1e-4)
        draw = torch.Generator().manual_seed(seed)
        noise = [0.3 * torch.randn(p.shape, generator=draw) for p in model.parameters()]
        if how in ("foreach", "fused", "single"):
            ways = {"foreach": how == "foreach", "fused": how == "fused"}
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **ways)
            for parameter, part in zip(model.parameters(), noise, strict=True):
                parameter.grad = part
            optimizer.step()
        elif how == "data":
            for parameter, part in zip(model.parameters(), noise, strict=True):
                parameter.data.add_(part)
        elif how == "swap":
            for parameter, part in zip(model.parameters(), noise, strict=True):
                parameter.data = parameter.data + part
        else:
            changed = {k: v + 0.1 * torch.randn(v.shape) for k, v in model.state_dict().items()}
            model.load_state_dict(changed)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "mamba"])
def test_the_library_has_nothing_to_warn_of(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = HFEngine(make_model(name), PAD)
        engine.generate([Request(torch.tensor([3, 4, 5]))], PARAMS)


def test_a_mask_that_is_written_out_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("llama")
    monkeypatch.setattr(slot_decoder, "can_fuse_now", lambda model: False)
    requests, found = make_requests(9), []
    for is_needed in (False, True):
        monkeypatch.setattr(slot_decoder, "needs_mask", lambda model, is_=is_needed: is_)
        found.append(HFEngine(model, PAD).generate(requests, PARAMS))
    for one, two in zip(*found, strict=True):
        assert torch.equal(one.token_ids, two.token_ids)
        torch.testing.assert_close(one.logprobs, two.logprobs, atol=2e-5, rtol=1e-4)
