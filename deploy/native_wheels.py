"""Make the two native wheels tagged for glibc 2.39 load on an older glibc.

ml-metadata 1.21 and tensorflow-data-validation 1.21 need a handful of symbols that
glibc 2.38 and GCC 13 introduced. Each has an equivalent that older systems export, so
the dynamic symbol is renamed and its version requirement dropped. On glibc 2.39 or
newer nothing is touched.

`./strata` runs it right after the packages are installed. With `--platform` it only
prints the platform whose wheels to install, or nothing where the system's own will do.
"""

import importlib.util
import mmap
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lief

# What the wheels need after the patch: pthread_key_create of 2.34, libstdc++ of GCC 11.
OLDEST_GLIBC = (2, 34)
NEEDED_GLIBC = (2, 39)
PLATFORM = "x86_64-manylinux_2_39"

# symbol -> equivalent that older systems export
EQUIVALENTS = {
    "__isoc23_strtol": "strtol",
    "__isoc23_strtoll": "strtoll",
    "__isoc23_strtoul": "strtoul",
    "__isoc23_strtoull": "strtoull",
    # The host's libstdc++ initialises its own streams; any `void ()` will do.
    "_ZSt21ios_base_library_initv": "sched_yield",
    "__cxa_call_terminate": "_ZSt9terminatev",
}
TOO_NEW = {"GLIBC_2.38", "GLIBCXX_3.4.32", "CXXABI_1.3.15"}

EXTENSIONS = (
    ("ml_metadata", "metadata_store/pywrap/metadata_store_extension.so"),
    (
        "tensorflow_data_validation",
        "pywrap/tensorflow_data_validation_extension.so",
    ),
)


def glibc_version() -> tuple[int, ...]:
    """Return the version of the C library, for example (2, 36).

    Raises:
      SystemExit: the wheels cannot be made to load on this system.
    """
    library, version = platform.libc_ver()
    number = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    machine = platform.machine()
    if library != "glibc" or machine != "x86_64" or number < OLDEST_GLIBC:
        raise SystemExit(
            "strata: Expected 64-bit x86 Linux with glibc 2.34 or newer: TFX 1.21 has "
            f"wheels for nothing else. Received: {platform.system()} {machine}, "
            f"{library or 'no glibc'} {version}".rstrip()
        )
    return number


def extension_paths() -> list[Path]:
    """Return the two shared objects, without importing their packages.

    Raises:
      SystemExit: one of the packages is not installed.
    """
    paths = []
    for package, relative in EXTENSIONS:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"strata: package {package} is not installed")
        paths.append(Path(next(iter(spec.submodule_search_locations))) / relative)
    return paths


def needs_new_glibc(extension: Path) -> bool:
    """Say whether the file still asks for a version that glibc 2.36 lacks."""
    with (
        extension.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return any(content.find(name.encode() + b"\0") >= 0 for name in TOO_NEW)


def patch(extension: Path) -> bool:
    """Rename the too-new symbols of one shared object; False if it has none.

    The result is written beside the file and renamed over it, because installers
    hard-link from their cache and an edit in place would change the cache.

    Raises:
      SystemExit: it needs a too-new symbol that has no known equivalent.
    """
    import lief  # not there yet when `--platform` is asked

    if not needs_new_glibc(extension):
        return False
    binary = lief.ELF.parse(str(extension))
    if binary is None:
        raise SystemExit(f"strata: {extension} is not a shared object")
    for symbol in binary.dynamic_symbols:
        _rename(symbol, extension)
    for requirement in binary.symbols_version_requirement:
        for auxiliary in list(requirement.get_auxiliary_symbols()):
            if str(auxiliary.name) in TOO_NEW:
                requirement.remove_aux_requirement(auxiliary)
    handle, draft = tempfile.mkstemp(dir=extension.parent, suffix=".so.draft")
    os.close(handle)
    binary.write(draft)
    shutil.copymode(extension, draft)
    os.replace(draft, extension)
    return True


def _rename(symbol: "lief.ELF.Symbol", extension: Path) -> None:
    version = symbol.symbol_version
    if version is None or version.symbol_version_auxiliary is None:
        return
    if str(version.symbol_version_auxiliary.name) not in TOO_NEW:
        return
    name = str(symbol.name)
    if name not in EQUIVALENTS:
        raise SystemExit(f"strata: {extension.name} needs {name}: no equivalent known")
    symbol.name = EQUIVALENTS[name]
    version.value = 1  # VER_NDX_GLOBAL


def main(arguments: list[str]) -> None:
    """Print the platform, or patch what is installed."""
    if glibc_version() >= NEEDED_GLIBC:
        return
    if arguments == ["--platform"]:
        sys.stdout.write(PLATFORM + "\n")
        return
    for extension in extension_paths():
        if patch(extension):
            sys.stderr.write(f"strata: made {extension.name} load on this glibc\n")


if __name__ == "__main__":
    main(sys.argv[1:])
