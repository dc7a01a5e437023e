"""A mock relay for the Zentalk WebSocket API: the protocol core of ``zentalk_sim`` behind real sockets."""
