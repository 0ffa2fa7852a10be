"""Archives in memory."""

import io
import tarfile
import zipfile


def zipped(files: dict[str, bytes | str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return data.getvalue()


def tarred(*members: tuple[str, bytes | None, dict], mode: str = "w:gz") -> bytes:
    """Members (name, content, what else of the TarInfo)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as file:
        for name, content, more in members:
            member = tarfile.TarInfo(name)
            member.size = len(content or b"")
            for key, value in more.items():
                setattr(member, key, value)
            file.addfile(member, io.BytesIO(content or b""))
    return data.getvalue()
