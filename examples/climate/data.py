"""Reading and checking the two records, and putting them on a common calendar.

Every fault of a file is a `DataError` that names the file, the line and what to do. Nothing here guesses: a week
without a value stays empty until `carbon.fit_curve` fills it by a stated method.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

CO2_FILE = "mauna_loa_co2_weekly.csv"
TEMPERATURE_FILE = "hadcrut5_global_annual.csv"

CO2_COLUMNS = ("date", "co2")
TEMPERATURE_COLUMNS = (
    "Time",
    "Anomaly (deg C)",
    "Lower confidence limit (2.5%)",
    "Upper confidence limit (97.5%)",
)

CO2_RANGE_PPM = (250.0, 600.0)
ANOMALY_RANGE_K = (-3.0, 5.0)
WEEK = timedelta(days=7)

FIRST_FULL_YEAR = 1959
"""1958 starts in March and has values for 25 of its 40 weeks: too thin for an annual mean or a seasonal cycle."""

SOURCES: dict[str, dict[str, str]] = {
    "co2": {
        "title": "Mauna Loa weekly mean atmospheric CO2, SIO air sampling network",
        "unit": "ppm (mole fraction in dry air)",
        "citation": (
            "Keeling, C.D. and T.P. Whorf, 2004: Atmospheric CO2 concentrations derived from flask air samples at "
            "sites in the SIO network. CDIAC, Oak Ridge National Laboratory. Copy distributed with the "
            "statsmodels package. The file does not name its calibration scale; it is one of Scripps' of before the "
            "revisions X08A and X12 (these two differ by at most a few tenths of a ppm: Scripps CO2 Program, notice of "
            "2021)."
        ),
        "licence": "Public domain",
        "attribution": "C.D. Keeling and T.P. Whorf, Scripps Institution of Oceanography, through CDIAC",
    },
    "temperature": {
        "title": "HadCRUT.5.0.1.0 analysis, global annual mean near-surface temperature anomaly",
        "unit": "K relative to the mean of 1961-1990",
        "citation": (
            "Morice, C.P., J.J. Kennedy, N.A. Rayner et al., 2021: An updated assessment of near-surface temperature "
            "change from 1850: the HadCRUT5 data set. J. Geophys. Res. Atmos., 126, e2019JD032361, "
            "doi:10.1029/2019JD032361."
        ),
        "licence": "Open Government Licence v3.0",
        "attribution": (
            "Contains HadCRUT.5.0.1.0 data, © British Crown Copyright, Met Office, provided under an Open Government "
            "Licence v3.0, http://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/"
        ),
    },
}


class DataError(ValueError):
    """A data file that cannot be used: `file` is its name, `line` the line at fault, or None for the whole file."""

    def __init__(self, file: str, line: int | None, found: str, remedy: str) -> None:
        place = file if line is None else f"{file}, line {line}"
        super().__init__(f"{place}: {found}; {remedy}")
        self.file = file
        self.line = line


@dataclass(frozen=True)
class Table:
    """A CSV file with the expected columns: `rows` are (line number, fields), never empty; `sha256` is the file's."""

    name: str
    sha256: str
    rows: list[tuple[int, list[str]]]


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """Read a UTF-8 CSV file with a header of exactly these columns. DataError if it is not such a file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(path.name, None, f"cannot be read ({error.strerror})", "check the data folder") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise DataError(path.name, line, found, "save the file as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    lines = [(reader.line_num, row) for row in _checked(reader, path.name) if row]
    if not lines:
        raise DataError(path.name, None, "the file is empty", "fetch it again from its source")
    header = [name.strip() for name in lines[0][1]]
    if header != list(columns):
        missing = [name for name in columns if name not in header]
        found = f"column {missing[0]!r} is missing" if missing else "columns in another order, or too many"
        raise DataError(path.name, lines[0][0], found, f"expected {', '.join(columns)}; found {', '.join(header)}")
    if len(lines) == 1:
        raise DataError(path.name, None, "there is a header but no data", "fetch the file again from its source")
    for number, row in lines[1:]:
        if len(row) != len(columns):
            raise DataError(path.name, number, f"{len(row)} fields", f"a line has {len(columns)}")
    return Table(path.name, hashlib.sha256(content).hexdigest(), lines[1:])


def _checked(reader: Iterator[list[str]], name: str) -> Iterator[list[str]]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(name, None, f"not a CSV file ({error})", "fetch it again from its source") from error


def _number(table: Table, line: int, text: str, column: str, limits: tuple[float, float]) -> float:
    try:
        value = float(text)
    except ValueError:
        raise DataError(table.name, line, f"{column} is {text!r}, not a number", "correct or empty the field") from None
    low, high = limits
    if not (math.isfinite(value) and low <= value <= high):
        raise DataError(table.name, line, f"{column} is {value:g}", f"plausible values lie in {low:g} to {high:g}")
    return value


def read_co2(folder: Path) -> tuple[Table, list[tuple[date, float | None]]]:
    """The weekly CO2 record in ppm, oldest first, one entry for every seventh day; None where the week has no value."""
    table = read_table(folder / CO2_FILE, CO2_COLUMNS)
    weeks: list[tuple[date, float | None]] = []
    for line, (day_text, value_text) in table.rows:
        try:
            day = datetime.strptime(day_text, "%Y%m%d").date()
        except ValueError:
            raise DataError(table.name, line, f"date is {day_text!r}", "a date is YYYYMMDD") from None
        if weeks and day <= weeks[-1][0]:
            what = "appears twice" if day == weeks[-1][0] else f"comes after {weeks[-1][0]}"
            raise DataError(table.name, line, f"{day} {what}", "sort the file by date, each week once")
        if weeks and day - weeks[-1][0] != WEEK:
            gap = (day - weeks[-1][0]).days
            raise DataError(table.name, line, f"{day} is {gap} days after the line before", "keep empty weeks as lines")
        weeks.append((day, _number(table, line, value_text, "co2", CO2_RANGE_PPM) if value_text.strip() else None))
    return table, weeks


def read_temperature(folder: Path) -> tuple[Table, list[tuple[int, float, float, float]]]:
    """Annual anomalies (year, anomaly, lower, upper) in K, oldest first, no year missing; limits are 2.5 and 97.5 %."""
    table = read_table(folder / TEMPERATURE_FILE, TEMPERATURE_COLUMNS)
    years: list[tuple[int, float, float, float]] = []
    for line, fields in table.rows:
        if not (fields[0].isascii() and fields[0].isdigit() and len(fields[0]) == 4):
            raise DataError(table.name, line, f"Time is {fields[0]!r}", "a year has four digits")
        year = int(fields[0])
        if years and year != years[-1][0] + 1:
            raise DataError(table.name, line, f"{year} comes after {years[-1][0]}", "one line a year, in order")
        value, lower, upper = (
            _number(table, line, text, column, ANOMALY_RANGE_K)
            for text, column in zip(fields[1:], TEMPERATURE_COLUMNS[1:], strict=True)
        )
        if not lower <= value <= upper:
            raise DataError(table.name, line, f"{value:g} is outside {lower:g} to {upper:g}", "check the columns")
        years.append((year, value, lower, upper))
    return table, years


def describe(kind: str, table: Table, first: Any, last: Any, missing: int) -> dict[str, Any]:
    """What the report says about a source: its terms, the file's name and digest, and what was found in it."""
    return {
        "id": kind,
        "file": table.name,
        "sha256": table.sha256,
        "rows": len(table.rows),
        "missing": missing,
        "first": str(first),
        "last": str(last),
        **SOURCES[kind],
    }


def longest_gap(weeks: Sequence[tuple[date, float | None]]) -> tuple[int, date]:
    """The longest run of empty weeks and the day it begins; (0, first day) where no week is empty."""
    best, start = 0, weeks[0][0]
    length, begin = 0, weeks[0][0]
    for day, value in weeks:
        if value is not None:
            length = 0
            continue
        begin = day if length == 0 else begin
        length += 1
        if length > best:
            best, start = length, begin
    return best, start
