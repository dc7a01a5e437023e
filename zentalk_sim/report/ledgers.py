"""The two ledgers that balance in every run: nothing sent is unaccounted for, nothing stored vanishes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

LEDGERS: dict[str, tuple[str, ...]] = {
    "messages.sent": ("messages.acked", "messages.rejected", "messages.failed", "messages.unacked"),
    "copies.stored": (
        "copies.confirmed",
        "copies.dropped.overflow",
        "copies.dropped.expired",
        "copies.dropped.device_removed",
        "copies.pending",
    ),
}
"""What came in → where it went. The sender's ledger is per message, the relay's per recipient device."""


def check_ledgers(counts: Mapping[str, int], unknown: Collection[str] = ()) -> list[str]:
    """A sentence for each ledger that does not balance, with its figures; none if all is well. A missing count is 0.

    ``unknown``: totals that nobody counted, whose ledgers are passed over. A drop whose cause no ledger names is a
    fault too: it would vanish silently (R-6.5).
    """
    faults = []
    for total, parts in LEDGERS.items():
        if total in unknown:
            continue
        came, went = counts.get(total, 0), sum(counts.get(part, 0) for part in parts)
        if came != went:
            figures = " + ".join(f"{part} {counts.get(part, 0)}" for part in parts)
            faults.append(f"{total} is {came}, but its parts add up to {went} ({came - went:+d} missing): {figures}")
    faults += [f"{name} is {counts[name]}: a count is never negative" for name in sorted(counts) if counts[name] < 0]
    known = LEDGERS["copies.stored"]
    faults += [
        f"{name} is {counts[name]}, a cause that the ledger of copies.stored does not know"
        for name in sorted(counts)
        if name.startswith("copies.dropped.") and name not in known and counts[name]
    ]
    return faults
