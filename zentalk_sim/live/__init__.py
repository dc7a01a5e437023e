"""The client core over real sockets: an asyncio face for runs in real time and for tests."""
