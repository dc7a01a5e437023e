"""Certification of an app's client: every case in a space of its own, two verdicts a case, and a report of them."""
