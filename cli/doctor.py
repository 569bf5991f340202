"""`embedkit doctor`: what a report of a fault should say of the machine, and whether everything works on it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import embedkit
from embedkit.errors import BadFile, printable

from . import FAILURE, OK
from .doctor_checks import ENGINES, FACTS, LIBRARY, ON_DEVICES, answer, examined
from .output import table

# Shown as they are set. Others are not: they may hold what is nobody's business.
_VARIABLES = (
    "EMBEDKIT_CACHE", "EMBEDKIT_DATA", "EMBEDKIT_OFFLINE", "EMBEDKIT_VECTORS", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT",
    "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "TMPDIR", "LANG", "LC_ALL",
)  # fmt: skip
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")  # only that they are set: they may hold a password
_IMPORTED_AS = {"pillow": "PIL", "scikit-learn": "sklearn", "umap-learn": "umap"}
_OPTIONAL = {"parquet": "to read and write Parquet: pip install 'embedkit[parquet]'"}
_MOST_FILES = 100_000  # of a cache, whose sizes are added up
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*?(?:>=([0-9.]+))?[^;]*(?:;.*extra *== *['\"]([^'\"]+)['\"])?")


@click.command(short_help="Examine this installation, for a report of what is wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--check", "checks", multiple=True, hidden=True)
def doctor(as_json: bool, checks: tuple[str, ...]) -> int:
    """Tell versions, devices, threads and caches, and try every engine on something small.

    It takes some seconds, and on a machine where nothing was compiled yet about a minute. Nothing is downloaded or
    sent. What is printed can be pasted into a report: your home folder is shown as ~, and of other settings only those
    that matter here. The exit code is 1 if something that embedkit needs does not work.

    \b
    embedkit doctor
    embedkit doctor --json
    """  # noqa: D301  # click's sign for lines that stay
    if checks:  # in the process that `examined` started
        answer(checks)
        return OK
    report = _Report(print_text=not as_json)
    found = report.examine()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
    return FAILURE if found["problems"] else OK


class _Report:
    """The findings, section by section, which are printed as they come."""

    def __init__(self, *, print_text: bool) -> None:
        self._print_text, self._hide = print_text, _hider()
        self.problems: list[str] = []

    def examine(self) -> dict[str, Any]:
        """All findings."""
        start = time.perf_counter()
        found: dict[str, Any] = {"embedkit": embedkit.__version__}
        found["system"] = self._facts("system", _system())
        found["environment"] = self._facts("environment", _environment())
        found["caches"] = self._facts("caches", _caches())
        found["libraries"] = self._libraries()
        about = {one["name"]: one for one in examined(list(FACTS))}
        found["machine"] = self._facts("machine", _told(about))
        # The others tell of libraries, which were looked at already.
        self.problems += [name for name in ("kernels", "shipped vectors") if _failed(about.get(name))]
        found["engines"] = self._engines(_names_of_devices(about.get("devices")))
        found["problems"] = self.problems
        found["seconds"] = round(time.perf_counter() - start, 1)
        wrong = f"does not work: {', '.join(self.problems)}" if self.problems else "all that embedkit needs works"
        self._say(f"\n{wrong} ({found['seconds']:.0f} seconds)")
        return found

    def _say(self, text: str) -> None:
        if self._print_text:
            click.echo(text)
            sys.stdout.flush()

    def _facts(self, title: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        hidden = {name: self._hide(value) for name, value in facts.items()}
        rows = [(name, _plain(value)) for name, value in hidden.items()]
        self._say("\n" * (title != "system") + table((title, ""), rows).rstrip())
        return hidden

    def _libraries(self) -> list[dict[str, Any]]:
        known = _requirements()
        made = []
        for name, one in zip(known, examined([LIBRARY + _imported_as(name) for name in known]), strict=True):
            minimum, optional = known[name]
            version = _version(name)
            verdict, note = one["verdict"], one["found"]
            if version is None and verdict != "ok":
                verdict, note = "absent", optional or "embedkit needs it: install embedkit anew"
            elif version is not None and verdict == "ok" and _older(version, minimum):
                verdict, note = "too old", f"{minimum} or later is needed"
            if verdict != "ok" and (optional is None or verdict != "absent"):
                self.problems.append(name)
            made.append({"name": name, "version": version, "verdict": verdict, "seconds": one["seconds"],
                         "needed": optional is None, "note": self._hide(note)})  # fmt: skip
        if not known:
            self.problems.append("the record of what embedkit needs (is it installed?)")
        header = ("library", "version", "verdict", "seconds to import", "")
        self._table(header, made, ("name", "version", "verdict", "seconds", "note"))
        return made

    def _engines(self, devices: Sequence[str]) -> list[dict[str, Any]]:
        names = [*ENGINES, *(name for name in ON_DEVICES if name.rpartition(" ")[2] in devices)]
        made = []
        for one in examined(names):
            one["found"] = self._hide(one["found"])
            made.append(one)
            if one["verdict"] != "ok":
                self.problems.append(one["name"])
        self._table(("engine", "verdict", "seconds", ""), made, ("name", "verdict", "seconds", "found"))
        return made

    def _table(self, header: Sequence[str], rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
        cells = [[f"{row[name]:.2f}" if name == "seconds" else _plain(row[name]) for name in names] for row in rows]
        if rows:
            self._say("\n" + table(header, cells).rstrip())


# -- what can be told without starting anything ------------------------------------------------------------------------


def _system() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "embedkit": f"{embedkit.__version__} in {Path(embedkit.__file__).parent}",
        "python": f"{platform.python_version()} ({platform.python_implementation()}) at {sys.executable}",
        "platform": " ".join([platform.platform(), *platform.libc_ver()]).strip(),
        "processor": f"{_processor()}, {usable} of {os.cpu_count()} cores usable{_quota()}",
        "memory": _memory(),
        "encoding": f"{sys.stdout.encoding} on standard output, {sys.getfilesystemencoding()} for names of files",
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()


def _quota() -> str:
    """What a container may use of the processors."""
    with contextlib.suppress(OSError, ValueError):
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if most != "max":
            return f", limited to {int(most) / int(period):g}"
    return ""


def _memory() -> str:
    told = []
    with contextlib.suppress(OSError, ValueError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        told.append(f"{total / 2**30:.1f} GiB")
    with contextlib.suppress(OSError, AttributeError):
        found = re.search(r"MemAvailable: *(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
        told += [f"{int(found[1]) / 2**20:.1f} GiB available"] if found else []
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        told.append(f"limited to {limit / 2**30:.1f} GiB")
    return ", ".join(told) or "unknown"


def _environment() -> dict[str, Any]:
    offline = os.environ.get("EMBEDKIT_OFFLINE", "0") not in ("", "0")
    proxies = [name for name in _PROXIES if name in os.environ or name.upper() in os.environ]
    shown = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    return {
        "downloads": "forbidden by EMBEDKIT_OFFLINE" if offline else "allowed (nothing was asked for)",
        "proxies": f"{', '.join(proxies)} set" if proxies else "none",
        **shown,
    }


def _caches() -> dict[str, Any]:
    from embedkit.files.cache import cache_folder

    try:
        ours: Any = _place(cache_folder())
    except BadFile as error:
        ours = f"cannot be used: {error}"
    return {"data and kernels": ours, "temporary files": _place(Path(tempfile.gettempdir()), count=False)}


def _place(folder: Path, *, count: bool = True) -> dict[str, Any]:
    """Where it is, whether it can be written to, what is in it and what is left."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"written")
        writable: Any = True
    except OSError as error:
        writable = f"no: {error.strerror or error}"
    found: dict[str, Any] = {"path": str(folder), "writable": writable}
    if count:
        sizes = [size for _, size in zip(range(_MOST_FILES), _sizes(folder), strict=False)]
        found["size"] = f"{sum(sizes) / 1e6:.1f} MB in {len(sizes):,} files" + " or more" * (len(sizes) == _MOST_FILES)
    with contextlib.suppress(OSError):
        found["free"] = f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
    return found


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                yield (Path(place) / name).lstat().st_size


# -- libraries ---------------------------------------------------------------------------------------------------------


def _requirements() -> dict[str, tuple[str, str | None]]:
    """Library to the least version, and what it is good for where embedkit works without it."""
    from importlib.metadata import PackageNotFoundError, requires

    found: dict[str, tuple[str, str | None]] = {}
    with contextlib.suppress(PackageNotFoundError):
        for line in requires("embedkit") or ():
            match = _REQUIREMENT.fullmatch(line.strip())
            if match and (match[3] is None or match[3] in _OPTIONAL):
                found[match[1]] = (match[2] or "0", _OPTIONAL.get(match[3] or ""))
    return found


def _imported_as(name: str) -> str:
    return _IMPORTED_AS.get(name, name.replace("-", "_"))


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _older(version: str, minimum: str) -> bool:
    here, least = ([int(part) for part in re.findall(r"\d+", text)] for text in (version, minimum))
    return here < least


# -- what was found out ------------------------------------------------------------------------------------------------


def _told(about: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    titles = {"simd": "instructions", "kernels": "kernels kept in"}
    return {
        titles.get(name, name): one["found"] if one["verdict"] == "ok" else f"{one['verdict']}: {one['found']}"
        for name, one in about.items()
    }


def _failed(one: Mapping[str, Any] | None) -> bool:
    return one is not None and one["verdict"] != "ok"


def _names_of_devices(about: Mapping[str, Any] | None) -> list[str]:
    return [name.partition(":")[0] for name in about["found"]] if about and about["verdict"] == "ok" else []


def _plain(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in value.items())
    words = {None: "", True: "yes", False: "no"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _hider() -> Callable[[Any], Any]:
    """What shows the home folder as ~, in all texts of a value."""
    homes = {os.path.expanduser("~"), os.path.realpath(os.path.expanduser("~"))}  # noqa: PTH111  # it never fails
    patterns = [re.escape(home) for home in sorted(homes, key=len, reverse=True) if len(home) > 1 and home[0] == "/"]
    home = re.compile(f"(?:{'|'.join(patterns)})(?![\\w.-])") if patterns else None

    def hide(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: hide(one) for name, one in value.items()}
        if not isinstance(value, str):
            return value
        line = " ".join(value.split())
        return printable(home.sub("~", line) if home else line)

    return hide
