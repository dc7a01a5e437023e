"""What the application itself asks for: closing, another network (R-11.1, R-11.2)."""

from __future__ import annotations

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage
from zentalk_sim.protocol.control import CloseConn


@case("The application closes", "R-11.1", needs=("close",), ends=True, takes_s=4)
async def closes(stage: Stage) -> None:
    """The app closes with 1000 (R-11.3: then it stays away), and no frame follows."""
    await stage.online()
    await stage.act("close")
    end = stage.require(await stage.wait(stage.ends), "the app did not close", "close")[0]
    code = end.get("close_code")
    stage.judge(end["event"] == "closed", "the app dropped the connection without a close frame", "close", "non_strict")
    stage.judge(code in (1000, 1001, 1005, 1006), f"the app closed with {code}, not 1000", "close")
    stage.judge(code == 1000, f"the app closed with {code}, not 1000", "close", "non_strict")
    await stage.stays_away(3_000)


@case("Closed amid a backoff", "R-11.1", needs=("close",), ends=True, takes_s=7)
async def closes_in_backoff(stage: Stage) -> None:
    """The application closes while the app waits to try again. No attempt follows."""
    await stage.online()
    stage.end(None)
    await stage.ended()
    await stage.act("close")
    await stage.stays_away(5_000)


@case("Another network while connected", "R-11.2", needs=("network_changed",), ends=True)
async def another_network(stage: Stage) -> None:
    """The network changes under a connection. The app makes a new one at once, without a backoff."""
    await stage.online()
    await stage.act("network_changed")
    found = await stage.wait(lambda: len(stage.attempts()) > 1, stage.at_once_s)
    stage.require(found, "the network changed, and the app kept to the old connection", "close")
    await stage.authenticated(2)
    await stage.send("on the new network")
    acked = await stage.wait(lambda: stage.frames("MESSAGE_ACK", "out"))
    stage.judge(acked, "a message sent on the new network was not acknowledged")
    stage.judge(True, "", "close")


@case("Replaced by itself", "R-10.3", ends=True, takes_s=7, checks=("client.stop_on_close",))
async def replaced(stage: Stage) -> None:
    """The same device connects elsewhere: 1000, reason "replaced". The app leaves the field to it."""
    await stage.online()
    conn = stage.require(stage.connection(), "the app is not connected", "close")
    stage.space.driver.control(CloseConn(conn, 1000, "replaced"))
    await stage.ended()
    await stage.stays_away(6_000)
