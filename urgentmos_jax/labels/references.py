"""Where the clean reference of a recording is: by a system, by a column, or by a pattern of paths."""

import os
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from urgentmos_jax.manifests.paths import locate
from urgentmos_jax.manifests.records import ManifestError, Utterance

FIELDS = ("uid", "system_id", "reference_id", "stem")


class NoReference(ValueError):
    """An utterance without a reference; the message says why."""


@dataclass(frozen=True)
class Rule:
    """How references are found; one of three.

    Attributes:
        system: The recording of the same `reference_id` by this system.
        column: The path that stands under this key of the line, or of its `meta`.
        path: A path with `{uid}`, `{system_id}`, `{reference_id}` or `{stem}` (of the recording's file name).
    """

    system: str | None = None
    column: str | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.system, self.column, self.path)) != 1:
            raise ValueError("give one of system, column and path")
        if self.path is not None:
            try:
                names = _fields(self.path)
            except ValueError as error:
                raise ValueError(f"path {self.path!r}: {error}") from None
            if unknown := [name for name in names if name not in FIELDS]:
                wanted = ", ".join(f"{{{name}}}" for name in FIELDS)
                raise ValueError(f"path {self.path!r}: {{{unknown[0]}}} is none of {wanted}")
            if not names:
                text = "names the same file for all; put in {reference_id} or the like"
                raise ValueError(f"path {self.path!r}: {text}")


class References:
    """References of all utterances of a manifest, as a rule finds them.

    Relative paths are relative to the manifest's folder, else to `audio_root`; see `manifests.reading.read_utterances`.

    Raises:
        ManifestError: The rule fits none of the utterances, or two recordings could be one's reference.
    """

    def __init__(
        self, rule: Rule, utterances: Sequence[Utterance], manifest: Path, audio_root: Path | None, allow_outside: bool
    ):
        self._rule, self._manifest, self._audio_root = rule, manifest, audio_root
        roots = [manifest.parent, *([audio_root] if audio_root is not None else [])]
        self._roots = None if allow_outside else [os.path.join(os.path.realpath(root), "") for root in roots]
        self._by_reference = self._of_system(utterances) if rule.system is not None else {}
        if rule.column is not None and not any(rule.column in utterance.meta for utterance in utterances):
            keys = sorted({key for utterance in utterances for key in utterance.meta})
            found = f"the lines have {', '.join(map(repr, keys))}" if keys else "the lines have no further keys"
            raise ManifestError([f"{manifest}: no line has the key {rule.column!r}, nor its meta; {found}"])

    def of(self, utterance: Utterance) -> str:
        """Path of the reference.

        Raises:
            NoReference: There is none.
        """
        rule = self._rule
        if rule.system is not None:
            if utterance.reference_id is None:
                raise NoReference(f"it has no reference_id, by which the recording of {rule.system!r} is found")
            if utterance.reference_id not in self._by_reference:
                raise NoReference(f"{rule.system!r} has no recording of its reference_id {utterance.reference_id!r}")
            return self._by_reference[utterance.reference_id].audio_path
        path = self._named(utterance)
        located = locate(path, self._manifest, self._audio_root)
        if self._roots and not os.path.isabs(path):
            real = os.path.realpath(located)
            if not any(real.startswith(root) for root in self._roots):
                text = f"its reference {path!r} leads to {real!r}, out of the manifest's folder and the root"
                raise NoReference(text)
        return located

    def _named(self, utterance: Utterance) -> str:
        if self._rule.column is not None:
            path = utterance.meta.get(self._rule.column)
            if not path or not isinstance(path, str):
                raise NoReference(f"its {self._rule.column} is {path!r}, not the path of its reference")
            return path
        stem = os.path.splitext(os.path.basename(utterance.audio_path))[0]
        values = {"stem": stem, **{name: getattr(utterance, name) for name in FIELDS if name != "stem"}}
        pattern = self._rule.path or ""
        if missing := [name for name in _fields(pattern) if values[name] is None]:
            raise NoReference(f"it has no {missing[0]}, which the path of its reference is made of")
        return pattern.format(**values)

    def _of_system(self, utterances: Sequence[Utterance]) -> dict[str, Utterance]:
        clean: dict[str, Utterance] = {}
        faults = []
        for utterance in utterances:
            if utterance.system_id != self._rule.system or utterance.reference_id is None:
                continue
            other = clean.setdefault(utterance.reference_id, utterance)
            if other is not utterance:
                which = f"{other.uid!r} and {utterance.uid!r} of {self._rule.system!r}"
                text = f"{which} both have the reference_id {utterance.reference_id!r}"
                faults.append(f"{self._manifest}: {text}; which one is the reference cannot be told")
        if faults:
            raise ManifestError(faults)
        if not clean:
            systems = {repr(utterance.system_id) for utterance in utterances if utterance.system_id is not None}
            known = ", ".join(sorted(systems)) or "none"
            text = f"no recording with a reference_id is by the system {self._rule.system!r}; the systems are {known}"
            raise ManifestError([f"{self._manifest}: {text}"])
        return clean


def _fields(path: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(path) if name is not None]
