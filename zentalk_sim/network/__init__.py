"""The network as the simulator sees it: TCP connections whose every question is answered by an instant.

Nothing here waits or schedules. A caller says what is sent and when (integer microseconds) and is told when it
arrives; it keeps the event queue. What is modelled and what is not is written in ``docs/network.md``.
"""
