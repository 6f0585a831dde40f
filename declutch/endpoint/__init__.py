"""Language models behind a network: other people's models asked, and our own served to others.

Takes `ChatRequest` records and gives `ChatReply` records, from a cache on disk or from a server
that speaks the OpenAI chat-completions protocol, within a budget. Whoever asks, such as the judge's
labels and the texts of the cold start, knows the interface `Chat` alone, so that tests need no
network. `server/` is the other direction: a local model that answers by the same protocol.

May import: records, errors, streams, files, config, envs, models, credit, agent, learner, rollout.
To add another way of asking a model, write a class with the method `ask` of `Chat` in a file of its
own, and construct it where `open_endpoint` is called.
"""
