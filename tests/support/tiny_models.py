"""Randomly initialised models of several architectures, a few thousand parameters each."""

import torch
import transformers

SIZE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def tiny_model(name="qwen2", vocab_size=24, seed=0, **changes):
    """A causal LM; its weights are large enough for probabilities far from uniform."""
    common = {"vocab_size": vocab_size, "pad_token_id": 0, "bos_token_id": None}
    common |= {"eos_token_id": None}
    make = {
        "qwen2": lambda: transformers.Qwen2Config(
            **SIZE, **common, tie_word_embeddings=True, **changes
        ),
        "llama": lambda: transformers.LlamaConfig(
            **SIZE, **common, tie_word_embeddings=False, **changes
        ),
        "gemma2": lambda: transformers.Gemma2Config(
            **SIZE, **common, head_dim=8, final_logit_softcapping=2.0, **changes
        ),
        "cohere": lambda: transformers.CohereConfig(**SIZE, **common, logit_scale=0.25, **changes),
        "granite": lambda: transformers.GraniteConfig(
            **SIZE, **common, logits_scaling=3.0, **changes
        ),
        "gpt2": lambda: transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=64, **common, **changes
        ),
    }
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(make[name]())
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return model.eval()
