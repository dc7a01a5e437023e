"""The two documents that describe the relay to programs: OpenAPI 3.1 (REST, control) and AsyncAPI 3 (the WebSocket).

Both are made from the code when they are first asked for: schemas from the typed frames and bodies, paths from the
route tables, summaries from the handlers' docstrings. What the code does not hold in a typed form (which statuses a
path answers with, and with what) is in ``facts``; tests hold it against a running relay.
"""
