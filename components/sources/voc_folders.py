"""Where things lie in Pascal VOC folders: which image goes with which annotation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from components import split_slices
from components.sources import BadRow, files
from recipes.errors import BadInputError

SUFFIXES = (".xml", ".txt", ".jpg", ".jpeg", ".png", ".bmp")
_FOLDERS = ("JPEGImages", "Annotations", "ImageSets/Main")

Pair = tuple[files.File, files.File]  # image, annotation


@dataclass
class Folder:
    """One VOC folder; its files by the names that its lists use.

    Attributes:
      prefix: its own path below the source's, ending in `/`, or "".
      part: of its files.
    """

    prefix: str
    part: str
    images: dict[str, files.File] = field(default_factory=dict)
    annotations: dict[str, files.File] = field(default_factory=dict)
    lists: dict[str, files.File] = field(default_factory=dict)


def find(found: Sequence[files.File]) -> list[Folder]:
    """Return the VOC folders that files lie in.

    Raises:
      BadInputError: there is none with annotations.
    """
    folders: dict[tuple[str, str], Folder] = {}
    for file in found:
        place, _, name = file.relative.rpartition("/")
        kind = next((k for k in _FOLDERS if f"/{place}".endswith(f"/{k}")), None)
        if kind:
            key = (file.part, place.removesuffix(kind))
            folder = folders.setdefault(key, Folder(key[1], file.part))
            kinds = (folder.images, folder.annotations, folder.lists)
            kinds[_FOLDERS.index(kind)][name.rpartition(".")[0]] = file
    if not any(folder.annotations for folder in folders.values()):
        raise BadInputError(
            "[data.voc] path: expected a folder with JPEGImages/<name>.jpg and "
            f"Annotations/<name>.xml. Received: {found[0].relative}"
        )
    return list(folders.values())


def pairs(
    folders: Sequence[Folder], splits: Mapping[str, int | str]
) -> tuple[list[Pair], list[BadRow]]:
    """Return images with their annotations, by part, and names that lack one of them.

    The part of an image is the list that it stands in, where `splits` names lists.

    Raises:
      BadInputError: no list of a name that `splits` uses, or an image in two of them.
    """
    wanted = _wanted(folders, splits)
    named = [(f, *name) for f in folders for name in _names(f, wanted)]
    found: list[Pair] = []
    bad: list[BadRow] = []
    for folder, part, name in named:
        image, annotation = folder.images.get(name), folder.annotations.get(name)
        if image and annotation:
            found.append((replace(image, part=part), annotation))
        else:
            lacks = "annotation in Annotations" if image else "image in JPEGImages"
            bad.append(BadRow(folder.prefix + name, f"there is no {lacks}"))
    return sorted(found, key=lambda pair: pair[0].part), bad


def _wanted(folders: Sequence[Folder], splits: Mapping[str, int | str]) -> set[str]:
    """Return the lists that splits name; none where they are shares."""
    texts = {s: part for s, part in splits.items() if isinstance(part, str)}
    if not texts or any(folder.part for folder in folders):
        return set()
    lists = {name for folder in folders for name in folder.lists}
    return {piece.part for piece in split_slices.parse(texts, lists)}


def _names(folder: Folder, wanted: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the parts and names of the images to be read."""
    if not wanted:
        yield from ((folder.part, name) for name in sorted(folder.annotations))
        return
    parts: dict[str, str] = {}
    for part in sorted(wanted & folder.lists.keys()):
        for name in _read(folder.lists[part]):
            if parts.setdefault(name, part) != part:
                raise BadInputError(
                    f"[data] splits: {folder.prefix}{name} stands in the lists "
                    f"{parts[name]!r} and {part!r}. Expected lists without an image "
                    "in common."
                )
    yield from ((part, name) for name, part in parts.items())


def _read(file: files.File) -> list[str]:
    with files.open_binary(file.path) as stream:
        lines = stream.read().decode("utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        if len(line.split()) > 1:
            raise BadInputError(
                f"{file.relative} line {number}: expected one name a line. "
                f"Received: {line[:80]!r}"
            )
    return [line.strip() for line in lines if line.strip()]
