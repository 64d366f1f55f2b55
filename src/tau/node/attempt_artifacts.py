"""The artifacts of one attempt at a visit: files that belong to the state, each an item once it is published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tau.errors import ArtifactError, ConfigError, CorruptCheckpointError, LeaseLostError, StoreError
from tau.log.records import Item
from tau.node.kept_state import stored_of
from tau.node.step_results import cell_of
from tau.state import State, raw
from tau.stores.artifact_content import wrong_with
from tau.stores.artifact_files import AttemptFiles, checked_file_name
from tau.values.stored import StoredValue
from tau.values.types.artifact import Artifact

if TYPE_CHECKING:
    from tau.node.steps import StepRunner

_ARTIFACT: Final = "artifact"
_NAMES_FILES: Final = 1 << 20  # values longer than this are looked into for no artifact


class AttemptArtifacts:
    """What one attempt makes, and what attempts before it had made; ``place`` tells where that goes. Thread-safe."""

    def __init__(self, runner: StepRunner, place: Callable[[], str | None]) -> None:
        self._runner = runner
        self._place = place
        self._began = runner.journal.position if runner.journal is not None else 0
        self._files: AttemptFiles | None = None
        self._made: list[Artifact] = []

    @contextmanager
    def block(self, name: str, directory: bool, keep_last: int | None) -> Iterator[Path]:
        """See `Context.artifact`."""
        runner = self._runner
        checked_file_name(name)
        if keep_last is not None and (type(keep_last) is not int or keep_last < 1):
            raise ConfigError(f"artifact {name!r}: keep_last is a number of visits from 1, or None, not {keep_last!r}")
        files = self._files_for(name)
        key, made = f"artifact {name}", list[Artifact]()
        replaced: StoredValue | None = None
        try:
            runner.enter(key, name, made)
            replaced = runner.find(runner.of_visit(name), _ARTIFACT)
            with files.writing(name, directory, made) as path:
                yield path
                runner.check_open()
            if runner.commits is not None:
                cell = cell_of(runner.node, name, made[0])
                record = Item(scope=runner.of_visit(name), name=name, key=_ARTIFACT, value=cell.change)
                runner.commits.commit(record, cell)
                runner.saved()
        except BaseException as error:
            if made and isinstance(error, LeaseLostError):  # nothing will ever refer to it
                files.discard(made[0])
            runner.give_back(key, made)
            raise
        self._made += made
        if replaced is not None:
            files.discard(replaced.open()[0])
        if keep_last is not None and runner.journal is not None:
            with suppress(CorruptCheckpointError, StoreError):  # what cannot be read may name any of them
                files.prune(name, keep_last, self._named_in_state())

    def _files_for(self, name: str) -> AttemptFiles:
        """What makes the artifacts of this attempt, all of them below the position at which it began."""
        runner = self._runner
        with runner.lock:
            if self._files is None:
                place = self._place()
                if place is None:
                    raise ConfigError(
                        f"there is no place for the artifact {name!r}: give the graph a store on disk, as in "
                        "store='sqlite:///runs.db', or name a directory with CheckpointConfig(artifacts=...)"
                    )
                self._files = AttemptFiles(
                    place,
                    runner.run_id,
                    runner.node if runner.effect is None else runner.effect.place,
                    visit=runner.visit,
                    position=self._began,
                    kept=self._older_artifacts,
                )
            return self._files

    def _named_in_state(self) -> list[bytes]:
        """The encodings in which the state may name artifacts: as the node was given it, which is what is stored."""
        runner = self._runner
        given = raw(stored_of(runner.effect)).values() if runner.effect is not None else ()
        return [cell.data() for cell in given if isinstance(cell, StoredValue) and cell.size <= _NAMES_FILES]

    def _older_artifacts(self) -> list[bytes]:
        """The encodings of what is finished in this visit and may name artifacts."""
        runner = self._runner
        items = [*runner.journal.items.single.items()] if runner.journal is not None else []
        return [cell.data() for (_, key), cell in items if key == _ARTIFACT]

    def with_artifacts(self, result: Any) -> Any:
        """What a node returned, with the artifacts it made, or that steps which were not run again had made.

        Raises `ArtifactError` where one of them was altered since.
        """
        runner = self._runner
        made = {}
        if runner.any_resumed and runner.journal is not None:
            if runner.journal.parent is not None:
                for one in runner.journal.parent.artifacts(runner.of_visit(""), _ARTIFACT):
                    artifact = one.open()[0]
                    made[artifact.name] = artifact
            *here, (*visit, _) = runner.of_visit("")
            for scope, key in [*runner.journal.items.single]:
                cell = runner.journal.item(scope, key)
                if key == _ARTIFACT and scope[:-1] == (*here,) and scope[-1][:2] == (*visit,) and cell is not None:
                    made[scope[-1][2]] = cell.open()[0]
        made.update((artifact.name, artifact) for artifact in self._made)
        if not made or not (result is None or isinstance(result, Mapping)):
            return result
        for artifact in made.values():
            if isinstance(result, State) or artifact.name not in (result or ()):
                self._look_at(artifact)
        if isinstance(result, State):
            return result.merge(made)
        return {**made, **(result or {})}

    def _look_at(self, artifact: Artifact) -> None:
        """Raise `ArtifactError` where it was altered since its block ended."""
        runner = self._runner
        wrong = self._files.wrong_with(artifact) if self._files is not None else wrong_with(artifact)
        if wrong:
            raise ArtifactError(
                f"node {runner.node!r} made the artifact {artifact.name!r}, which {wrong} now that the node has ended: "
                f"{artifact.path}; write all of it within the block, and close there whatever writes to it (one that a "
                "step made is made anew by a resume with on_change='redo')",
                path=str(artifact.path),
                node=runner.node,
                run_id=runner.run_id,
            )
