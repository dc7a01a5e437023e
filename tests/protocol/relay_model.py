"""A plain model of the relay's messages: mailboxes, receipts, duplicates, overflow, expiry, notices (R-5, R-6).

It has neither frames nor effects, nodes nor timers: users, devices and lists. What it says that each connection
must be told is compared with what the relay said, by ``test_relay_model``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Told = tuple[object, ...]
"""A frame in short: its type and what matters of it."""


@dataclass
class Sent:
    """An accepted message."""

    id: str
    sender: str
    to: str
    nonce: str
    text: str
    at_us: int
    count: int
    """How many devices it was acknowledged for."""
    delivered_to: list[str] = field(default_factory=list)
    was_read: bool = False


@dataclass
class Model:
    """The relay as its users know it."""

    max_copies: int
    max_notices: int
    retention_us: int
    nonce_us: int
    devices: dict[str, list[str]] = field(default_factory=dict)
    contacts: dict[str, set[str]] = field(default_factory=dict)
    boxes: dict[str, list[str]] = field(default_factory=dict)
    """Device, or user for what waits for a first device → ids in order of acceptance."""
    index: dict[str, Sent] = field(default_factory=dict)
    nonces: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    online: dict[str, list[Told]] = field(default_factory=dict)
    """Connected device → what its connection was told."""
    notices: dict[str, list[Told]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + count

    def tell(self, device: str, *frame: object) -> None:
        if device in self.online:
            self.online[device].append(frame)

    def notify(self, user: str, *frame: object) -> None:
        """To the connected devices, else kept for every registered one."""
        connected = [device for device in self.devices[user] if device in self.online]
        for device in connected:
            self.tell(device, *frame)
        for device in [] if connected else self.devices[user]:
            kept = self.notices.setdefault(device, [])
            kept.append(frame)
            if len(kept) > self.max_notices:
                del kept[0]
                self.add("notices.dropped.overflow")

    # --- what people do ------------------------------------------------------------------------------------

    def connect(self, device: str) -> None:
        self.online[device] = []
        if self.boxes.get(device):
            self.tell(device, "SYNC_REQUIRED", len(self.boxes[device]))
        for frame in self.notices.pop(device, []):
            self.tell(device, *frame)

    def disconnect(self, device: str) -> None:
        del self.online[device]

    def register(self, user: str, device: str) -> None:
        first = not self.devices[user]
        self.devices[user].append(device)
        if first:
            self.boxes[device] = self.boxes.pop(user, [])
        else:
            for contact in self.contacts[user]:
                self.notify(contact, "KEY_CHANGE", user)

    def remove(self, user: str, device: str) -> None:
        self.online.pop(device, None)
        self.devices[user].remove(device)
        self.add("copies.dropped.device_removed", len(self.boxes.pop(device, [])))
        self.notices.pop(device, None)

    def send(self, device: str, sender: str, to: str, message_id: str, nonce: str, text: str, now: int) -> None:
        known = self.index.get(message_id)
        if known is not None:
            if (known.sender, known.to, known.nonce, known.text) == (sender, to, nonce, text):
                self.tell(device, "MESSAGE_ACK", message_id, "duplicate", known.count)
            else:
                self.tell(device, "ERROR", "INVALID_MESSAGE", "duplicate_id")
            return
        holder, used_us = self.nonces.get((sender, nonce), (message_id, 0))
        if holder != message_id and now - used_us <= self.nonce_us:
            self.tell(device, "ERROR", "INVALID_MESSAGE", "nonce_reused")
            return
        self.nonces[sender, nonce] = (message_id, now)
        targets = [other for other in self.devices[to] if other != device]
        self.index[message_id] = Sent(message_id, sender, to, nonce, text, now, len(targets))
        if sender != to:
            self.contacts[sender].add(to)
            self.contacts[to].add(sender)
        self.tell(device, "MESSAGE_ACK", message_id, "queued", len(targets))
        for place in targets or ([to] if not self.devices[to] else []):
            box = self.boxes.setdefault(place, [])
            box.append(message_id)
            self.add("copies.stored")
            if len(box) > self.max_copies:
                del box[0]
                self.add("copies.dropped.overflow")
            self.tell(place, "MESSAGE_NEW", message_id, text)

    def confirm(self, device: str, message: Sent) -> bool:
        """Whether a copy left its mailbox by it."""
        box = self.boxes.get(device, [])
        held = message.id in box
        if held:
            box.remove(message.id)
            self.add("copies.confirmed")
        if device not in message.delivered_to:
            message.delivered_to.append(device)
            self.notify(message.sender, "MESSAGE_DELIVERED", message.id, device)
        return held

    def receipt(self, kind: str, device: str, user: str, message_id: str) -> None:
        """MESSAGE_RECEIVED or MESSAGE_READ."""
        message = self.index.get(message_id)
        if message is None:
            self.tell(device, "ERROR", "NOT_FOUND", None)
        elif message.to != user:
            self.tell(device, "ERROR", "FORBIDDEN", None)
        else:
            self.confirm(device, message)
            if kind == "MESSAGE_READ" and not message.was_read:
                message.was_read = True
                self.notify(message.sender, "MESSAGE_READ", message.id)

    def acknowledge(self, device: str, user: str, ids: list[str]) -> int:
        """By REST; how many copies left."""
        known = [self.index[message_id] for message_id in ids if message_id in self.index]
        return sum(self.confirm(device, message) for message in known if message.to == user)

    def expire(self, now: int) -> None:
        for message in list(self.index.values()):
            if message.at_us + self.retention_us <= now:
                del self.index[message.id]
                for box in self.boxes.values():
                    if message.id in box:
                        box.remove(message.id)
                        self.add("copies.dropped.expired")

    def pending(self) -> int:
        return sum(map(len, self.boxes.values()))
