"""The gradient of verl's own engine on two ranks against the learner's, a process a rank.

    torchrun --nproc-per-node=2 tests/support/verl_gradient.py FOLDER

FOLDER gets a tiny model, and gradient.json with the largest difference by loss.
"""

import json
import sys
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.distributed
from ranks import LOSSES, MAX_TOKENS, TEMPERATURE, learner_gradient, rows_of, samples
from tiny_models import tiny_model
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
from verl.workers.engine import EngineRegistry

from declutch.cluster.batch import make_batch
from declutch.cluster.loss import deal, role_weights, verl_loss


def make_engine(folder):
    fp32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    model = HFModelConfig(
        path=str(folder),
        load_tokenizer=False,
        use_remove_padding=False,
        enable_gradient_checkpointing=False,
        override_config={"attn_implementation": "sdpa"},
    )
    model.model_type = "language_model"
    engine = EngineRegistry.new(
        model_type="language_model",
        backend="fsdp2",
        model_config=model,
        engine_config=FSDPEngineConfig(
            strategy="fsdp2",
            model_dtype="fp32",
            mixed_precision=fp32,
            use_torch_compile=False,
            use_remove_padding=False,
        ),
        optimizer_config=FSDPOptimizerConfig(lr=1e-3, total_training_steps=1),
        checkpoint_config=CheckpointConfig(),
    )
    engine.initialize()
    return engine


def ranks_gradient(engine, rows, weights, loss):
    """What the engine's parameters have as their gradient, by name."""
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    dealt = deal([row.num_tokens for row in rows], size)
    batch = make_batch(rows, weights, dealt, TEMPERATURE)
    own = tu.contiguous(tu.chunk_tensordict(batch, size)[rank])
    tu.assign_non_tensor(
        own,
        use_remove_padding=False,
        use_dynamic_bsz=True,
        max_token_len_per_gpu=64,
        use_fused_kernels=False,
        global_batch_size=len(dealt),
    )
    with engine.train_mode():
        engine.optimizer_zero_grad()
        engine.forward_backward_batch(own, partial(verl_loss, config=loss))
        return {
            name: parameter.grad.full_tensor().clone()
            for name, parameter in engine.module.named_parameters()
        }


def main():
    folder = Path(sys.argv[1])
    torch.distributed.init_process_group("cpu:gloo")
    if torch.distributed.get_rank() == 0:
        tiny_model("qwen2", 24).save_pretrained(folder / "model")
    torch.distributed.barrier()
    engine = make_engine(folder / "model")
    agent, judge = samples()
    found = {}
    for name, weight in product(LOSSES, (0.3,)):
        loss = LOSSES[name]
        own = [rows_of(each, loss.kl_coef > 0) for each in (agent, judge)]
        weights = role_weights(own[0], loss, MAX_TOKENS)
        weights += role_weights(own[1], loss, MAX_TOKENS, weight)
        gradient = ranks_gradient(engine, [*own[0], *own[1]], weights, loss)
        expected = learner_gradient(agent, judge, loss, weight)
        names = [name for name, _ in tiny_model("qwen2", 24).named_parameters()]
        pairs = zip(names, expected, strict=True)
        gaps = [float((gradient[key] - part).abs().max()) for key, part in pairs]
        found[name] = {"gap": max(gaps), "largest": max(float(p.abs().max()) for p in expected)}
    if torch.distributed.get_rank() == 0:
        (folder / "gradient.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
