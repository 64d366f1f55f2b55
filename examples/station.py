"""A space walk: four agents and two hubs. Outside are two specialists and their commander, inside are the commander and
the flight engineer. They speak directly, to all, about topics, and across the hubs.

    python examples/station.py                      # their lines are written down
    python examples/station.py config.llama.json    # a model speaks them
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from tau import Hub, Message, agents
from tau.agents import Agent, AgentConfig
from tau.hub import MessageContext, Priority

LINES = {
    ("specialist-1", "sunset in 20 minutes"): "finishing the cooling line first",
    ("specialist-2", "sunset in 20 minutes"): "stowing the tools",
    ("specialist-2", "need the torque wrench"): "it is on its way",
    ("specialist-1", "a spare blanket lies in the airlock"): "noted",
    ("engineer", "pressurize the cooling line"): "the line holds at 2.1 bar",
}
"""What the agents say where no model is configured."""

heard: list[str] = []


def agent(name: str) -> Agent:
    if len(sys.argv) > 1:
        role = f"You are {name} of a space walk. Answer what you are told in one short sentence."
        return Agent(AgentConfig.from_file(sys.argv[1]), name=name, system_prompt=role)
    return agents.scripted({said: line for (who, said), line in LINES.items() if who == name}, name=name)


def speaker(name: str) -> Callable[[Message, MessageContext], str]:
    """A handler that lets the agent of that name answer. Any callable that takes a message is one."""
    speaking = agent(name)

    def handler(message: Message, context: MessageContext) -> str:
        answer = speaking.chat(str(message.data)).text
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
