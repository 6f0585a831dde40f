"""The server behind `declutch serve`: a local model that answers the chat-completions protocol.

`protocol` reads requests and words replies as data, `model` turns messages into tokens and sampled
tokens into answers, `batcher` decides which requests are answered in one call of the engine, and
`app` is the HTTP application and the process around it.

May import what `endpoint` may. To serve another parameter of a request, add its field to
`protocol.ChatBody`, take its name out of `protocol.UNSERVED`, and use it in `model`; to serve
another address, add a route in `app`.
"""
