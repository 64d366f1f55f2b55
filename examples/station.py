"""A space walk: four agents and two hubs. Outside are two specialists and their commander, inside are the commander and
the flight engineer. They speak directly, to all, about topics, and across the hubs."""

from __future__ import annotations

from collections.abc import Callable

from tau import Hub, Message
from tau.hub import MessageContext, Priority

LINES = {
    ("specialist-1", "sunset in 20 minutes"): "finishing the cooling line first",
    ("specialist-2", "sunset in 20 minutes"): "stowing the tools",
    ("specialist-2", "need the torque wrench"): "it is on its way",
    ("specialist-1", "a spare blanket lies in the airlock"): "noted",
    ("engineer", "pressurize the cooling line"): "the line holds at 2.1 bar",
}
"""What the agents say: a model's part, played by a table. Any callable that takes a message is a handler."""

heard: list[str] = []


def speaker(name: str) -> Callable[[Message, MessageContext], str]:
    """An agent that answers by its lines."""

    def handler(message: Message, context: MessageContext) -> str:
        answer = LINES[name, message.data]
        way = f"topic {message.topic}" if message.topic else message.type
        heard.append(f"{context.hub_name}, {way}: {message.sender} to {name}: {message.data} -> {answer}")
        return answer

    return handler


def main() -> None:
    with Hub("outside") as outside, Hub("inside") as inside:

        async def commander(message: Message) -> str:
            """In both hubs: what is reported outside is ordered inside, and the answer goes back."""
            order = await inside.arequest("commander", "engineer", "pressurize the cooling line")
            return f"{message.data}: {order.data}"

        outside.register("specialist-1", speaker("specialist-1"))
        outside.register("specialist-2", speaker("specialist-2"))
        outside.register("commander", commander)
        inside.register("commander", commander)
        inside.register("engineer", speaker("engineer"))
        for agent, topic in (
            ("specialist-1", "equipment"),
            ("specialist-2", "safety"),
            ("commander", "equipment"),
            ("commander", "safety"),
        ):
            outside.subscribe(agent, topic)

        wrench = outside.request("specialist-1", "specialist-2", "need the torque wrench")
        sunset = outside.broadcast("commander", "sunset in 20 minutes", priority=Priority.HIGH)
        blanket = outside.publish("commander", "equipment", "a spare blanket lies in the airlock")
        report = outside.request("specialist-1", "commander", "line connected")

    # Here both hubs are shut down: all that was sent was handled. Agents work at the same time, so their words are
    # printed in alphabetical order.
    print("direct:", wrench.data)
    print("to all:", *sorted(sunset.delivered))
    print("by topic:", *blanket.delivered)
    print("across hubs:", report.data)
    print(*sorted(heard), sep="\n")
    for hub in (outside, inside):
        print(f"{hub.name}: {hub.metrics().messages_sent} sent, {hub.metrics().messages_received} received")


if __name__ == "__main__":
    main()
