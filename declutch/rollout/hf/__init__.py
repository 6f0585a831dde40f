"""The sampling engine for Hugging Face causal language models, on CPU or CUDA.

Takes requests, prompts as token ids with action masks, and gives completions. `engine.py` cuts
them into batches (`batches.py`) and samples token by token (`sampling.py`) what the masks allow
(`trie.py`, `response.py`). A decoder keeps the model's state: `slot_decoder.py` with a cache whose
slots are positions (`slot_cache.py`) and with shared prefixes computed once (`prefix.py`), or
`decoder.py`, which recomputes everything and serves any architecture.

May import: `records`, `errors`, `streams`, `files`, `config`, `envs`, `models`, `credit`, `agent`,
`learner`, the modules of `rollout`.

To serve another kind of model, write a class with the methods of `decoder.Decoder`, choose it in
`HFEngine`, and add the model to the configurations of tests/rollout/hf/test_engine.py.
"""
