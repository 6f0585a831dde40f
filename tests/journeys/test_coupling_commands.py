"""`declutch coupling` tokens, influence, layers and similarity print the numbers of brute force."""

import json

import coupling_oracle as oracle
import pytest
import torch
from coupled import VOCABULARY, make_rows, save_model, write_rows
from typer.testing import CliRunner

from declutch.cli.main import app
from declutch.ground.errors import UserError


def f64(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def run(tmp_path, name, *arguments, rows=None):
    rows = make_rows() if rows is None else rows
    samples = write_rows(tmp_path / "samples.jsonl", rows)
    out = tmp_path / "out.json"
    command = ["coupling", name, *map(str, arguments)]
    command += ["--samples", str(samples), "--json", str(out)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(out.read_text())


def tokens_by_hand(model, row):
    """Hidden states and errors of a row's tokens."""
    ids = torch.tensor(row["prompt_ids"] + row["response_ids"])
    states = model.model(input_ids=ids[None]).last_hidden_state[0].detach()
    hidden = states[len(row["prompt_ids"]) - 1 : -1]
    probabilities = torch.softmax(hidden @ model.lm_head.weight.detach().T, dim=-1)
    sampled = torch.nn.functional.one_hot(torch.tensor(row["response_ids"]), VOCABULARY)
    return hidden, sampled - probabilities


@pytest.mark.parametrize("name", ["qwen2", "llama"])  # Tied and untied.
def test_token_coupling_is_the_double_sum(name, tmp_path) -> None:
    folder, rows = save_model(tmp_path / "model", name), make_rows()
    data = run(tmp_path, "tokens", folder, "--pair", "in1-0", "3")
    parts = [tokens_by_hand(oracle.load_plain(folder), row) for row in rows]
    matrix = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for i, (h, e) in enumerate(parts):
        for j, (h2, e2) in enumerate(parts):
            matrix[i, j] = sum(
                float(a @ b) * float(x @ y) for a, x in zip(e, h, strict=True)
                for b, y in zip(e2, h2, strict=True)
            )  # fmt: skip
    assert torch.allclose(f64(data["coupling"]), matrix, rtol=1e-9, atol=1e-12)

    def gap(scale, domain):
        table = matrix / scale[:, None] / scale

        def mean(a, b):
            return torch.stack(
                [
                    table[i, j]
                    for i, row in enumerate(rows)
                    for j, other in enumerate(rows)
                    if i != j and row["domain"] == other["domain"] == domain
                    and (row["label"], other["label"]) == (a, b)
                ]
            ).mean()  # fmt: skip

        return float((mean(1, 1) + mean(0, 0)) / 2 - mean(1, 0))

    lengths = torch.tensor([float(len(row["response_ids"])) for row in rows]).double()
    for domain in ("in", "out"):
        assert data["gap"][domain] == pytest.approx(gap(lengths, domain), abs=1e-9)
        expected = gap(matrix.diag().sqrt(), domain)
        assert data["gap_normalised"][domain] == pytest.approx(expected, abs=1e-9)

    pair = data["pair"]
    assert pair["total"] == pytest.approx(float(matrix[0, 3]), abs=1e-9)
    (h, e), (h2, e2) = parts[0], parts[3]
    shares = (e @ e2.T) * (h @ h2.T)
    assert pair["scores_a"] == pytest.approx(shares.sum(1).tolist(), abs=1e-9)
    assert pair["scores_b"] == pytest.approx(shares.sum(0).tolist(), abs=1e-9)
    assert sum(pair["scores_b"]) == pytest.approx(pair["total"], abs=1e-9)


def test_untied_token_coupling_is_the_readouts_gradient(tmp_path) -> None:
    folder, rows = save_model(tmp_path / "model", "llama"), make_rows()
    data = run(tmp_path, "tokens", folder)
    model = oracle.load_plain(folder)
    gradients = [oracle.gradient(model, row, lambda name: name == "lm_head.weight") for row in rows]
    expected = torch.stack(gradients) @ torch.stack(gradients).T
    assert torch.allclose(f64(data["coupling"]), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["qwen2", "llama"])
def test_influence_is_that_of_steps_by_hand(name, tmp_path) -> None:
    folder, rows = save_model(tmp_path / "model", name), make_rows(1)
    data = run(tmp_path, "influence", folder, rows=rows)
    model = oracle.load_plain(folder)
    gradients = [oracle.gradient(model, row) for row in rows]
    first = torch.stack(gradients) @ torch.stack(gradients).T
    assert torch.allclose(f64(data["first_order"]), first, rtol=1e-9)
    before = torch.stack([oracle.token_logprobs(model, row).sum() for row in rows]).detach()
    weights = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    for index, g in enumerate(gradients):
        torch.nn.utils.vector_to_parameters(weights + data["eta"] * g, model.parameters())
        after = torch.stack([oracle.token_logprobs(model, row).sum() for row in rows]).detach()
        exact = f64(data["exact"][index])
        assert torch.allclose(exact, (after - before) / data["eta"], atol=1e-7)
        assert float((exact - first[index]).abs().max() / first[index].abs().max()) <= 0.01
    assert data["agrees"]


@pytest.mark.parametrize("options", [(), ("--per-token",), ("--step", "adamw")])
def test_the_changes_slope_is_1_and_that_of_the_first_orders_error_2(options, tmp_path) -> None:
    folder, rows = save_model(tmp_path / "model"), make_rows(1)
    found = []
    for eta in (1e-7, 1e-8):
        data = run(tmp_path, "influence", folder, "--eta", eta, *options, rows=rows)
        exact, first = (f64(data[key]) for key in ("exact", "first_order"))
        found.append((eta * exact.norm(), eta * (exact - first).norm()))
    (change, error), (smaller, smaller_error) = found
    assert float(torch.log10(change / smaller)) == pytest.approx(1, abs=0.05)
    assert float(torch.log10(error / smaller_error)) == pytest.approx(2, abs=0.05)


def test_influence_on_everything_that_could_be_said_cancels_out(tmp_path) -> None:
    folder = save_model(tmp_path / "model", "llama")
    rows = [{"prompt_ids": [1, 5, 2], "response_ids": [token]} for token in range(VOCABULARY)]
    data = run(tmp_path, "influence", folder, rows=rows)
    probabilities = f64(data["logprobs"]).exp()
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-9)
    first = f64(data["first_order"])
    assert float((first @ probabilities).abs().max()) < 1e-9


def test_layers_are_compared_at_the_places_that_predict(tmp_path) -> None:
    first = save_model(tmp_path / "a")
    second = save_model(tmp_path / "b", seed=1)
    rows = make_rows(2)
    layers = run(tmp_path, "layers", first, second, rows=rows)["layers"]
    assert [each["layer"] for each in layers] == [0, 1, 2]
    models = [oracle.load_plain(folder) for folder in (first, second)]
    states, logits = [], []
    for model in models:
        kept = []
        model.model.layers[1].register_forward_hook(lambda m, a, out, kept=kept: kept.append(out))
        for row in rows:
            with torch.no_grad():
                model(input_ids=torch.tensor(row["prompt_ids"] + row["response_ids"])[None])
        chosen = [
            out[0, len(row["prompt_ids"]) - 1 : -1] for out, row in zip(kept, rows, strict=True)
        ]
        states.append(torch.cat(chosen))
        with torch.no_grad():
            logits.append(model.lm_head(model.model.norm(states[-1])))
    for key, (a, b) in (("hidden", states), ("logits", logits)):
        assert layers[2][f"{key}_mae"] == pytest.approx(float((a - b).abs().mean()), abs=1e-9)
        cosine = torch.nn.functional.cosine_similarity(a, b).mean()
        assert layers[2][f"{key}_cosine"] == pytest.approx(float(cosine), abs=1e-9)
    same = run(tmp_path, "layers", first, first, rows=rows)["layers"]
    assert all(each["hidden_mae"] == 0 for each in same)
    assert same[1]["logits_cosine"] == pytest.approx(1)
    with pytest.raises(UserError, match="same shape"):
        run(tmp_path, "layers", first, save_model(tmp_path / "c", vocab_size=30), rows=rows)


def test_similarity_is_of_mean_hidden_states_of_prompts(tmp_path) -> None:
    folder, rows = save_model(tmp_path / "model"), make_rows(2)
    other = write_rows(tmp_path / "other.jsonl", make_rows(2, seed=9))
    data = run(tmp_path, "similarity", folder, "--against", other, rows=rows)
    model = oracle.load_plain(folder)

    def embed(rows):
        found = [
            model.model(input_ids=torch.tensor(row["prompt_ids"])[None])
            .last_hidden_state[0]
            .mean(0)
            for row in rows
        ]
        return torch.stack(found).detach()

    def mean(vectors):
        pairs = [
            oracle.cosine(a, b)
            for i, a in enumerate(vectors)
            for j, b in enumerate(vectors)
            if i != j
        ]
        return sum(pairs) / len(pairs)

    first, second = embed(rows), embed(make_rows(2, seed=9))
    centre = torch.cat([first, second]).mean(0)
    assert data["mean"] == pytest.approx(mean(first), abs=1e-9)
    assert data["centred_mean"] == pytest.approx(mean(first - centre), abs=1e-9)
    assert data["files"][str(other)]["centred_mean"] == pytest.approx(mean(second - centre))


def test_results_can_go_to_a_folder(tmp_path) -> None:
    folder, out = save_model(tmp_path / "model"), tmp_path / "results"
    run(tmp_path, "tokens", folder, "--out", out)
    names = {each.name for each in out.iterdir()}
    assert {"tokens.json", "tokens.md", "tokens.csv", "figures"} <= names
    assert (out / "figures" / "tokens_matrix.svg").exists()
    assert "| raw, in |" in (out / "tokens.md").read_text()


def test_a_class_that_is_missing_has_no_gap_but_a_warning(tmp_path) -> None:
    folder = save_model(tmp_path / "model")
    rows = [{**row, "label": 1} if row["domain"] == "in" else row for row in make_rows()]
    data = run(tmp_path, "tokens", folder, rows=rows)
    assert data["gap"]["in"] is None
    assert data["gap"]["out"] is not None
    assert "no gap in domain 'in'" in data["warnings"][0]
    with pytest.raises(UserError, match="--pair 'x' is no id"):
        run(tmp_path, "tokens", folder, "--pair", "x", "0")


@pytest.mark.minilm
def test_similarity_of_texts_is_that_of_a_sentence_model(tmp_path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = ["heat", "the", "mug", "in", "a", "microwave", "cool", "plate", "fridge"]
    words += ["prove", "this", "theorem"]
    inner = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="a"))
    inner.pre_tokenizer = Whitespace()
    folder = save_model(tmp_path / "model")
    PreTrainedTokenizerFast(tokenizer_object=inner).save_pretrained(folder)
    texts = ["heat the mug in a microwave", "cool the plate in a fridge", "prove this theorem"]
    rows = [
        {"prompt_ids": inner.encode(text).ids, "response_ids": [1], "domain": "in"}
        for text in texts
    ]
    data = run(tmp_path, "similarity", folder, "--embedder", "minilm", rows=rows)
    found = f64(data["cosine"])
    assert float(found[0, 1]) > float(found[0, 2]) + 0.1
    assert data["embedder"] == "minilm"


def test_an_unknown_embedder_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="take model or minilm"):
        run(tmp_path, "similarity", save_model(tmp_path / "model"), "--embedder", "bert")
