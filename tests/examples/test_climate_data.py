"""A bad data file is refused with its name, its line and the remedy; the real ones hold what their sources say."""

from __future__ import annotations

import shutil
from pathlib import Path

import data
import pytest


@pytest.fixture
def folder(tmp_path: Path, climate_data: Path) -> Path:
    for name in (data.CO2_FILE, data.TEMPERATURE_FILE):
        shutil.copyfile(climate_data / name, tmp_path / name)
    return tmp_path


def test_the_files_hold_what_their_sources_say(climate_data: Path) -> None:
    _, weeks = data.read_co2(climate_data)
    assert len(weeks) == 2284
    assert sum(value is None for _, value in weeks) == 59
    assert (str(weeks[0][0]), str(weeks[-1][0])) == ("1958-03-29", "2001-12-29")
    by_year = {year: sum(d.year == year and v is not None for d, v in weeks) for year in (1958, 1964)}
    assert by_year == {1958: 25, 1964: 31}
    assert data.longest_gap(weeks)[0] == 18
    _, years = data.read_temperature(climate_data)
    assert (years[0][0], years[-1][0], len(years)) == (1850, 2022, 173)


CO2_FAULTS = {
    "missing column": (b"date,ppm\n19580329,316.1\n", 1, "column 'co2' is missing"),
    "columns swapped": (b"co2,date\n316.1,19580329\n", 1, "another order"),
    "empty file": (b"", None, "the file is empty"),
    "only blank lines": (b"\n\n\n", None, "the file is empty"),
    "header only": (b"date,co2\n", None, "no data"),
    "letters in a number": (b"date,co2\n19580329,316.1\n19580405,31l.3\n", 3, "'31l.3', not a number"),
    "not a number": (b"date,co2\n19580329,nan\n", 2, "co2 is nan"),
    "infinite": (b"date,co2\n19580329,inf\n", 2, "co2 is inf"),
    "another unit": (b"date,co2\n19580329,0.000316\n", 2, "plausible values lie in 250 to 600"),
    "the old missing value": (b"date,co2\n19580329,-99.99\n", 2, "co2 is -99.99"),
    "duplicate date": (b"date,co2\n19580329,316.1\n19580329,316.1\n", 3, "1958-03-29 appears twice"),
    "unsorted dates": (b"date,co2\n19580405,316.1\n19580329,316.1\n", 3, "1958-03-29 comes after 1958-04-05"),
    "a week left out": (b"date,co2\n19580329,316.1\n19580412,317.6\n", 3, "14 days after"),
    "a date that does not exist": (b"date,co2\n19580230,316.1\n", 2, "date is '19580230'"),
    "a date with dashes": (b"date,co2\n1958-03-29,316.1\n", 2, "date is '1958-03-29'"),
    "too many fields": (b"date,co2\n19580329,316.1,7\n", 2, "3 fields"),
    "wrong encoding": ("date,co2\n19580329,316.1µ\n".encode("latin-1"), 2, "byte 0xb5 is not UTF-8"),
    "UTF-16": ("date,co2\n19580329,316.1\n".encode("utf-16"), 1, "is not UTF-8"),
    "a NUL byte": (b"date,co2\n19580329,31\0 6.1\n", 2, "not a number"),
    "semicolons": (b"date;co2\n19580329;316.1\n", 1, "column 'date' is missing"),
}


@pytest.mark.parametrize("fault", CO2_FAULTS)
def test_a_bad_co2_file_is_refused(folder: Path, fault: str) -> None:
    content, line, found = CO2_FAULTS[fault]
    (folder / data.CO2_FILE).write_bytes(content)
    with pytest.raises(data.DataError) as caught:
        data.read_co2(folder)
    assert (caught.value.file, caught.value.line) == (data.CO2_FILE, line)
    assert found in str(caught.value)
    assert "; " in str(caught.value), "what to do is missing"


HEADER = ",".join(data.TEMPERATURE_COLUMNS)
TEMPERATURE_FAULTS = {
    "missing limits": ("Time,Anomaly (deg C)\n1850,-0.4\n", 1, "is missing"),
    "a year left out": (f"{HEADER}\n1850,-0.4,-0.5,-0.3\n1852,-0.4,-0.5,-0.3\n", 3, "1852 comes after 1850"),
    "a year twice": (f"{HEADER}\n1850,-0.4,-0.5,-0.3\n1850,-0.4,-0.5,-0.3\n", 3, "1850 comes after 1850"),
    "letters in the year": (f"{HEADER}\nMCML,-0.4,-0.5,-0.3\n", 2, "'MCML'"),
    "an empty field": (f"{HEADER}\n1850,,-0.5,-0.3\n", 2, "'', not a number"),
    "limits the wrong way round": (f"{HEADER}\n1850,-0.4,-0.3,-0.5\n", 2, "outside"),
    "fahrenheit": (f"{HEADER}\n1850,57.2,57.0,57.4\n", 2, "plausible values lie in -3 to 5"),
}


@pytest.mark.parametrize("fault", TEMPERATURE_FAULTS)
def test_a_bad_temperature_file_is_refused(folder: Path, fault: str) -> None:
    content, line, found = TEMPERATURE_FAULTS[fault]
    (folder / data.TEMPERATURE_FILE).write_text(content)
    with pytest.raises(data.DataError) as caught:
        data.read_temperature(folder)
    assert caught.value.line == line
    assert found in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"mauna_loa_co2_weekly.csv: cannot be read"):
        data.read_co2(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(folder: Path) -> None:
    (folder / data.CO2_FILE).write_bytes(b"\xef\xbb\xbfdate,co2\r\n19580329,316.1\r\n19580405,\r\n")
    assert [value for _, value in data.read_co2(folder)[1]] == [316.1, None]
