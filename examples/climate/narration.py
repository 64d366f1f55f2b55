"""A stage in a sentence of a model's own words, beside the figures, which come from the data alone.

The model is given the figures and may use no number that is not among them. A sentence with another number is asked for
again, and left out in the end. A model that is away, too slow or wrong costs the pipeline nothing but the sentence: one
made from the figures says then what it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from tau import AgentError, Retry
from tau.agents import Agent, AgentConfig

ASKS = 3
"""How often a sentence is asked for, the first time included."""

SECONDS = 20.0
"""So long an answer may take; later than that nothing is asked again."""

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
LONGEST = 400


def narrator(config: AgentConfig) -> Agent:
    """The agent of a configuration, with little patience and short answers."""
    provider = config.client.provider
    return Agent(
        provider.name,
        provider.model.name,
        name=config.name,
        base_url=provider.base_url,
        provider_options=provider.options,
        system_prompt=config.system_prompt,
        options={"chat": {"max_tokens": 80, "temperature": 0.0, **provider.model.capabilities.get("chat", {})}},
        timeout=SECONDS,
        retry=Retry(attempts=2, delay=0.5),
    )


def told(agent: Agent, lines: Sequence[str]) -> dict[str, str]:
    """The sentence about lines of figures: its `text`, and `by` whom, a model or "the figures"; then with `why`."""
    facts = ". ".join(lines)
    prompt, why, began = f"Summarise in one sentence: {facts}.", "", time.monotonic()
    for _ in range(ASKS):
        try:
            answer = agent.chat(prompt).text
        except AgentError as error:
            why = f"the model gave no answer: {type(error).__name__}"
            break
        sentence = "".join(sign for sign in " ".join(answer.split()) if sign.isprintable())
        why = fault(sentence, lines)
        if not why:
            return {"text": sentence, "by": agent.model}
        if time.monotonic() - began > SECONDS:
            break
        prompt = f"Summarise in one sentence, with these numbers and no others: {facts}."
    return {"text": f"{'; '.join(lines)}.", "by": "the figures", "why": why}


def fault(sentence: str, lines: Sequence[str]) -> str:
    """Why a sentence is not taken; empty where it is."""
    if not sentence or len(sentence) > LONGEST:
        return "the model had no short sentence"
    strange = foreign_numbers(sentence, lines)
    return f"the model named {strange[0]}, no figure of ours" if strange else ""


def foreign_numbers(sentence: str, lines: Sequence[str]) -> list[str]:
    """The numbers of a sentence, in digits, that are none of those in the lines, rounded to the decimals shown."""
    known = [float(one.replace(",", "")) for line in lines for one in NUMBER.findall(line)]

    def is_known(text: str) -> bool:
        shown = text.replace(",", "")
        decimals = len(shown.partition(".")[2])
        return any(f"{value:.{decimals}f}" == shown for value in known)

    return [text for text in NUMBER.findall(sentence) if not is_known(text)]
