"""`declutch coupling gradients` prints the numbers of brute force, and refuses what it must."""

import json

import coupling_oracle as oracle
import pytest
import torch
from coupled import make_rows, save_model, write_rows
from typer.testing import CliRunner

from declutch.cli.main import app

PAIRS = {"pp": (1, 1), "pn": (1, 0), "np": (0, 1), "nn": (0, 0)}
SCOPES = {
    "all": lambda name: True,
    "no_embeddings": lambda name: "embed_tokens" not in name and "lm_head" not in name,
    "layer.1": lambda name: ".layers.1." in name,
}


def run(*arguments):
    return CliRunner().invoke(app, ["coupling", *map(str, arguments)], catch_exceptions=False)


def measure(folder, rows, tmp_path, *arguments):
    samples = write_rows(tmp_path / "samples.jsonl", rows)
    out = tmp_path / "out.json"
    result = run("gradients", folder, "--samples", samples, "--json", out, *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(out.read_text())


@pytest.mark.parametrize("name", ["qwen2", "llama"])  # Tied and untied.
@pytest.mark.parametrize("scope", SCOPES)
def test_numbers_are_those_of_brute_force(name, scope, tmp_path) -> None:
    folder = save_model(tmp_path / "model", name)
    rows = make_rows()
    data = measure(folder, rows, tmp_path, "--scope", scope, "--gram")
    model = oracle.load_plain(folder)
    gradients = [oracle.gradient(model, row, SCOPES[scope]) for row in rows]
    of = {
        (domain, label): [
            g
            for g, row in zip(gradients, rows, strict=True)
            if (row["domain"], row["label"]) == (domain, label)
        ]
        for domain in ("in", "out")
        for label in (0, 1)
    }
    for pair, (a, b) in PAIRS.items():
        left, right = of["in", a], of["out", b]
        assert data["cosine"][pair] == pytest.approx(oracle.cosine(sum(left), sum(right)), abs=1e-9)
        corrected = oracle.corrected(left, right)
        found = float("nan") if data["corrected"][pair] is None else data["corrected"][pair]
        assert found == pytest.approx(corrected, abs=1e-9, nan_ok=True)
    episodes = [row["episode"] for row in rows if (row["domain"], row["label"]) == ("in", 1)]
    assert data["split_half"]["in_pos"] == pytest.approx(
        oracle.split_half(of["in", 1], episodes), abs=1e-9
    )
    gram = torch.stack(gradients) @ torch.stack(gradients).T
    assert torch.allclose(torch.tensor(data["gram"], dtype=torch.float64), gram, rtol=1e-9)
    assert data["n"] == dict.fromkeys(("in_pos", "in_neg", "out_pos", "out_neg"), 4)


@pytest.mark.parametrize("reduce", ["samples", "unit"])
def test_a_population_may_be_the_mean_of_its_samples(reduce, tmp_path) -> None:
    folder, rows = save_model(tmp_path / "model"), make_rows()
    data = measure(folder, rows, tmp_path, "--reduce", reduce, "--by-advantage")
    model = oracle.load_plain(folder)

    def mean(domain, label):
        total = 0
        for row in rows:
            if (row["domain"], row["label"]) == (domain, label):
                g = oracle.gradient(model, row)
                scale = len(row["response_ids"]) if reduce == "samples" else g.norm()
                total = total + row["advantage"] * g / scale
        return total

    expected = oracle.cosine(mean("in", 1), mean("out", 0))
    assert data["cosine"]["pn"] == pytest.approx(expected, abs=1e-9)


def test_weights_that_are_stored_in_float64_are_not_rounded(tmp_path) -> None:
    from tiny_models import tiny_model

    model = tiny_model("llama").double()
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(1e-7 * torch.randn(each.shape, generator=draw, dtype=torch.float64))
    model.save_pretrained(tmp_path / "model")
    rows = make_rows()
    data = measure(tmp_path / "model", rows, tmp_path, "--gram")
    plain = oracle.load_plain(tmp_path / "model")
    g = oracle.gradient(plain, rows[0])
    assert data["gram"][0][0] == pytest.approx(float(g @ g), rel=1e-11)


def test_unequal_populations_are_cut_to_the_same_n(tmp_path) -> None:
    folder = save_model(tmp_path / "model")
    rows = make_rows()
    data = measure(folder, rows[:-1], tmp_path)
    assert data["n"]["in_pos"] == 3
    assert len(data["used"]) == 12
    assert "3 samples of the larger populations are not used" in " ".join(data["warnings"])


def refuse(rows, tmp_path, *arguments):
    folder = save_model(tmp_path / "model")
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    out = tmp_path / "out.json"
    with pytest.raises(Exception) as caught:  # noqa: PT011 The message is what is looked at.
        run("gradients", folder, "--samples", path, "--json", out, *arguments)
    assert type(caught.value).__name__ == "UserError"
    assert not out.exists()
    return str(caught.value)


def changed(number, **changes):
    rows = make_rows()
    row = {**rows[number], **changes}
    rows[number] = {key: value for key, value in row.items() if value is not ...}
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*make_rows(), "{"], "line 17: not JSON (Expecting property name enclosed in double"),
        ([*make_rows(), "[1]"], "line 17: not a JSON object"),
        (changed(2, response_ids=...), "line 3: needs prompt_ids and response_ids"),
        (changed(2, response_ids=[]), "line 3: an empty response"),
        (changed(2, prompt_ids=[]), "line 3: an empty prompt"),
        (changed(2, response_ids=[1.5]), "line 3: response_ids is not a list of whole numbers"),
        (changed(2, response_ids=[24]), "line 3: response_ids has the token 24, but the model's"),
        (changed(2, label=2), "line 3: label is 2, not 0 or 1"),
        (changed(2, domain="test"), "line 3: domain is 'test'"),
        (changed(2, advantage="x"), "line 3: advantage is 'x', not a finite number"),
        ([{**row, "label": 1} for row in make_rows()], "in_pos 8, in_neg 0, out_pos 8, out_neg 0"),
        (make_rows()[:2], "in_pos 1, in_neg 1, out_pos 0, out_neg 0"),
        (make_rows(1), "in_pos 1, in_neg 1, out_pos 1, out_neg 1"),
        ([{**row, "label": None} for row in make_rows()], "left out of the populations, no label"),
        ([], "holds no samples"),
        (
            [{**row, "tokenizer": f"t{number % 2}"} for number, row in enumerate(make_rows())],
            "lines 2, 4, 6, 8, 10, 12, 14, 16: its tokenizer is 't1', that of line 1 is 't0'",
        ),
    ],
)
def test_bad_samples_are_refused_by_line(rows, message, tmp_path) -> None:
    assert message in refuse(rows, tmp_path)


def test_bad_options_are_refused(tmp_path) -> None:
    rows = make_rows()
    assert "layer.0 to layer.1" in refuse(rows, tmp_path, "--scope", "layer.2")
    assert "take tokens, samples or unit" in refuse(rows, tmp_path, "--reduce", "mean")
    assert "take auto, float64 or float32" in refuse(rows, tmp_path, "--dtype", "float16")
    assert "no advantage" in refuse(changed(2, advantage=...), tmp_path, "--by-advantage")


def test_what_can_be_left_out_is_left_out_with_a_warning(tmp_path) -> None:
    folder = save_model(tmp_path / "model", max_position_embeddings=24)
    rows = make_rows(5)
    rows[2] = {**rows[2], "response_ids": [3] * 40}
    rows[5] = {key: value for key, value in rows[5].items() if key != "label"}
    rows[8] = {**rows[9], "label": rows[8]["label"], "id": rows[8]["id"]}
    data = measure(folder, rows, tmp_path)
    text = " ".join(data["warnings"])
    assert "line 3: left out, because prompt and response are longer" in text
    assert "line 6: left out of the populations, no label" in text
    assert "line 10: the same prompt and response as an earlier line" in text
    assert data["n"]["in_pos"] == 4
    path = tmp_path / "samples.jsonl"
    # An editor's mark of UTF-8, and text beside token ids.
    rows[3]["prompt"] = rows[3]["response"] = "no"
    path.write_text("\ufeff" + "\n".join(map(json.dumps, rows)), encoding="utf-8")
    run("tokens", folder, "--samples", path, "--no-matrix", "--json", tmp_path / "t.json")
    text = " ".join(json.loads((tmp_path / "t.json").read_text())["warnings"])
    assert "line 6: left out of the class gaps, no label" in text
    assert "line 4: token ids and text, of which the token ids are taken" in text
