"""Whether the stored state of a run fits the schema that its graph has now."""

from __future__ import annotations

from tau.engine.effects import RunRequest
from tau.log.loading import LoadedRun
from tau.state import view


def misfits(request: RunRequest, found: LoadedRun) -> dict[str, str]:
    """What does not fit, by key, and why. Only values of fields that are not what they were are looked at, and those
    that came with an answer: the others were validated when they were set."""
    schema, progress = request.graph.schema, found.progress
    if schema is None or progress is None or found.status == "cancelled":
        return {}
    stored = progress.fingerprint
    now, then = request.graph.fingerprint(stored).schema or {}, stored.schema if stored is not None else None
    answered = {key for pause in found.pauses.values() for key in pause.changed if key in found.values}
    if now == then and not answered:
        return {}
    changed = {name for name, digest in now.items() if then is None or then.get(name) != digest}
    state = view(dict(found.values), request.run_id, None, 0.0)
    return schema.misfits(state, changed, answered - changed, whole=now != then)
