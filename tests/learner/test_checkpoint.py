import json
import os
import resource
from pathlib import Path

import pytest
import torch
from builders import make_samples, update_on
from tiny_models import tiny_model
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from declutch.config.algorithm import LossConfig, OptimizerConfig
from declutch.config.judge import GCDConfig
from declutch.config.policy import ModelConfig
from declutch.ground import files
from declutch.ground.errors import UserError
from declutch.learner import checkpoint
from declutch.learner.checkpoint import is_checkpoint, load_checkpoint, save_checkpoint
from declutch.learner.optimizer import build_optimizer
from declutch.learner.update import Randomness
from declutch.models.load import load_model

V = 24
OPT = OptimizerConfig(lr=1e-2, mini_batch=None, num_mini_batches=2)


class Run:
    """A training run in small: a model and its optimizer."""

    def __init__(self, model=None):
        self.model = model or tiny_model("qwen2", V)
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0, "look": 1}, unk_token="<unk>"))
        )
        self.optimizer = build_optimizer(self.model, OPT)

    def iterate(self, seed):
        draws = Randomness(*(torch.Generator().manual_seed(seed + role) for role in (1, 2)))
        judge = make_samples(6, V, seed + 100)
        update_on(
            self.model,
            self.optimizer,
            make_samples(12, V, seed),
            judge,
            LossConfig(),
            OPT,
            GCDConfig(),
            1.0,
            draws,
        )

    def save(self, path, iteration=0):
        return save_checkpoint(path, self.model, self.tokenizer, self.optimizer, iteration)

    @classmethod
    def resume(cls, path):
        run = cls(AutoModelForCausalLM.from_pretrained(path))
        loaded = load_checkpoint(path)
        loaded.restore(run.optimizer)
        return run, loaded.iteration

    def bits(self):
        return {n: p.detach().view(torch.int32).clone() for n, p in self.model.named_parameters()}


def test_a_resumed_run_continues_bit_for_bit(tmp_path):
    straight = Run()
    straight.iterate(0)
    straight.save(tmp_path / "one", iteration=1)
    global_draw = torch.rand(3)
    straight.iterate(1)

    torch.manual_seed(12345)
    resumed, iteration = Run.resume(tmp_path / "one")
    assert iteration == 1
    assert torch.equal(torch.rand(3), global_draw)
    resumed.iterate(1)
    left, right = straight.bits(), resumed.bits()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_checkpoint_is_a_model_folder_like_any_other(tmp_path):
    run = Run()
    path = run.save(tmp_path / "one")
    assert json.loads((path / "config.json").read_text())["model_type"] == "qwen2"
    model = AutoModelForCausalLM.from_pretrained(path)
    assert torch.equal(model.lm_head.weight, run.model.lm_head.weight)
    assert PreTrainedTokenizerFast.from_pretrained(path).encode("look") == [1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["one"]


def test_saving_again_replaces(tmp_path):
    run = Run()
    run.save(tmp_path / "one", iteration=1)
    run.iterate(0)
    run.save(tmp_path / "one", iteration=2)
    assert load_checkpoint(tmp_path / "one").iteration == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["one"]


def test_a_full_disk_leaves_the_last_checkpoint_and_nothing_else(tmp_path):
    run = Run()
    first = run.save(tmp_path / "one", iteration=1)
    before = {path: path.read_bytes() for path in first.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for target in (tmp_path / "two", first):
        for limit in (1_000, 20_000):  # in the model's weights, in the trainer's state
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                with pytest.raises(UserError, match=r"cannot write the model folder .*(one|two)"):
                    run.save(target, iteration=9)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert is_checkpoint(first)
            assert {path: path.read_bytes() for path in first.iterdir()} == before
            assert [entry.name for entry in first.parent.iterdir()] == [first.name]


def test_a_replacement_that_cannot_be_named_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    run = Run()
    path = run.save(tmp_path / "one", iteration=1)
    real_rename = Path.rename

    def rename(self, target):
        if self.name.endswith(".partial"):
            raise OSError(28, "No space left on device")
        return real_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(UserError, match="No space left on device"):
        run.save(path, iteration=2)
    assert load_checkpoint(path).iteration == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(
    "victim", ["_serialise", "save_pretrained", "flush_folder", "replace_folder"]
)
def test_a_killed_save_is_no_checkpoint_and_does_not_stop_the_next(tmp_path, monkeypatch, victim):
    class Killed(BaseException):
        pass

    def die(*args):
        raise Killed

    run = Run()
    first = run.save(tmp_path / "one", iteration=1)
    owners = {"_serialise": checkpoint, "save_pretrained": run.tokenizer}
    with monkeypatch.context() as patch:
        patch.setattr(owners.get(victim, files), victim, die)
        with pytest.raises(Killed):
            run.save(tmp_path / "two", iteration=2)
    assert is_checkpoint(first)
    assert not is_checkpoint(tmp_path / "two")
    second = run.save(tmp_path / "two", iteration=2)
    assert is_checkpoint(second)
    assert len(list(tmp_path.iterdir())) == 2


def test_everything_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    events = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor):
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_fsync(descriptor)

    def rename(self, target):
        events.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    path = Run().save(tmp_path / "one")
    position = events.index("rename")
    flushed = {os.path.basename(name) for name in events[:position]}
    assert {entry.name for entry in path.iterdir()} <= flushed
    assert events[position + 1 :] == [str(tmp_path)]


def test_checkpoints_of_the_version_before_are_read(tmp_path):
    run = Run()
    path = run.save(tmp_path / "one", iteration=3)
    (path / "manifest.json").unlink()
    payload = torch.load(path / "trainer.pt", weights_only=True)
    torch.save({**payload, "generators": {}}, path / "trainer.pt")
    loaded = load_checkpoint(path)
    assert loaded.iteration == 3
    loaded.restore(run.optimizer)
    # Random streams with a state are older still; going on without it would be another run.
    torch.save({**payload, "generators": {"agent": torch.zeros(3)}}, path / "trainer.pt")
    with pytest.raises(UserError, match=r"random streams \['agent'\]"):
        load_checkpoint(path)


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(UserError, match=r"is not a checkpoint: it has no trainer\.pt"):
        load_checkpoint(tmp_path)
    path = Run().save(tmp_path / "one")
    whole = (path / "trainer.pt").read_bytes()
    for reason in (r"trainer\.pt is damaged", r"cannot read .*trainer\.pt"):
        for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
            (path / "trainer.pt").write_bytes(damaged)
            with pytest.raises(UserError, match=reason):
                load_checkpoint(path)
        # The version before wrote no manifest.
        (path / "manifest.json").unlink(missing_ok=True)
    torch.save({"format": 99}, path / "trainer.pt")
    with pytest.raises(UserError, match="format 99"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_kind_of_run_is_refused(tmp_path):
    run = Run()
    loaded = load_checkpoint(run.save(tmp_path / "one"))
    other = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(UserError, match="does not fit the model"):
        loaded.restore(other)


def test_a_flipped_bit_in_weights_or_state_is_noticed(tmp_path):
    run = Run()
    run.iterate(0)
    path = run.save(tmp_path / "one", iteration=1)
    for name, load in (
        ("trainer.pt", load_checkpoint),
        ("model.safetensors", lambda path: load_model(path, ModelConfig(device="cpu"))),
        ("tokenizer.json", lambda path: load_model(path, ModelConfig(device="cpu"))),
    ):
        whole = (path / name).read_bytes()
        load(path)
        for place in (len(whole) // 3, len(whole) // 2, len(whole) - 3):
            flipped = bytearray(whole)
            flipped[place] ^= 1
            (path / name).write_bytes(flipped)
            with pytest.raises(UserError, match=f"{name} is damaged: its SHA-256"):
                load(path)
        (path / name).write_bytes(whole)


def test_the_manifest_states_the_shapes_of_the_state(tmp_path):
    run = Run()
    run.iterate(0)
    path = run.save(tmp_path / "one", iteration=1)
    shapes = json.loads((path / "manifest.json").read_text())["shapes"]
    first = next(iter(run.model.parameters()))
    assert shapes["optimizer.state.0.exp_avg"] == list(first.shape)
    assert shapes["optimizer.state.0.step"] == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: {**p, "state": {}}, "iteration"),
        (lambda p: {**p, "state": {"iteration": "seven"}}, "iteration is 'seven'"),
        (lambda p: {**p, "state": {"iteration": -1}}, "iteration is -1"),
        (lambda p: {**p, "optimizer": 3}, "holds no optimizer"),
        (lambda p: {**p, "parts": [1]}, "has no names"),
        (lambda p: {**p, "torch_rng": None}, "random generator"),
        (lambda p: 5, "cannot read"),
    ],
)
def test_a_state_of_other_types_is_one_message(tmp_path, change, reason):
    path = Run().save(tmp_path / "one", iteration=3)
    (path / "manifest.json").unlink()
    payload = torch.load(path / "trainer.pt", weights_only=True)
    torch.save(change(payload), path / "trainer.pt")
    with pytest.raises(UserError, match=reason) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    path = Run().save(tmp_path / "one")
    (path / "manifest.json").unlink()
    torch.save(Bomb(), path / "trainer.pt")
    with pytest.raises(UserError, match="cannot read"):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()
