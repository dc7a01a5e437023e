"""The SimPy face: the protocol core's relays and clients under simulated time, over modelled links.

Nodes and devices are callbacks on one kernel; a `World` is built from an experiment and is a function of it.
"""
