"""Models: a folder of weights and tokenizer becomes a module, and the other way round.

Takes a Hugging Face model folder, the name of a model on the hub, or a GGUF file; gives a causal
language model with its tokenizer on the configured device. Whatever writes a model folder, be it a
cold start, a checkpoint or a conversion, does so with `save_model`, so that a folder is complete or
not there at all.

May import the ground: `config`, `errors` and `files`. It knows nothing of agents or training, and
makes no model of its own; fresh tiny ones are made in `cold_start`.

To support another format, add a file that writes its model as a folder with `save_model`, as `gguf`
does; every command then takes it.
"""
