"""The report is the same bytes for the same inputs, whole or not there, and readable on its own."""

from __future__ import annotations

import getpass
import json
import platform
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report
import tables

NAMES = ("report.json", "report.html")


def files(state: dict[str, Any]) -> dict[str, bytes]:
    return {name: (Path(state["out_dir"]) / name).read_bytes() for name in NAMES}


def test_two_runs_write_the_same_bytes(finished: dict[str, Any], again: dict[str, Any]) -> None:
    assert finished["out_dir"] != again["out_dir"]
    assert files(finished) == files(again)
    assert finished["report_files"] == again["report_files"]


def test_matplotlib_settings_of_the_user_change_nothing(finished: dict[str, Any]) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.facecolor": "black"}):
        assert report.as_html(finished) == files(finished)["report.html"]


def test_nothing_of_the_machine_is_in_the_report(finished: dict[str, Any]) -> None:
    text = "".join(content.decode() for content in files(finished).values())
    text = re.sub(r"base64,[\w+/=\s]+", "", text)
    for secret in (str(finished["out_dir"]), str(Path.home()) + "/", platform.node(), f"/{getpass.getuser()}/"):
        assert secret not in text
    assert not re.search(r"(?<![\d-])20(2[3-9]|[3-9]\d)-\d\d-\d\d", text), "a date of today"
    assert not re.search(r"file://|/tmp/|\d\d:\d\d:\d\d", text)


def test_json_has_value_limits_method_and_counterpart(finished: dict[str, Any]) -> None:
    content = json.loads(files(finished)["report.json"])
    seeds = content["parameters"].pop("seeds")
    assert content["parameters"] == {"resamples": 200, "triangle_resamples": 20, "series": 20, "every": 8}
    assert len(set(seeds.values())) == len(seeds) == 16 + len(content["triangle"]["pieces"])
    needed = {"value", "unit", "period", "method", "source", "counterpart"}
    assert all(needed <= set(row) for row in content["estimates"])
    assert all("limits_method" in row for row in content["estimates"] if "lower" in row)
    assert "200 resamples for each estimate, 20 for each period" in content["effort"]
    assert "every 8th first and last year only" in content["effort"]
    assert content["triangle"]["summary"]["periods"] == sum(len(p["last"]) for p in content["triangle"]["pieces"])
    assert [one["sha256"] for one in content["sources"]] == [one["sha256"] for one in finished["sources"]]


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.refs: set[str] = set()
        self.links: list[str] = []
        self.svgs = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.svgs += tag == "svg"
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                self.links.append(value or "")
            self.refs.update(re.findall(r"url\(#([^)]+)\)", value or ""))


def test_the_page_needs_no_other_file(finished: dict[str, Any]) -> None:
    page = Page()
    page.feed(files(finished)["report.html"].decode())
    assert page.svgs == 9
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert len(page.ids) == len(set(page.ids)), "ids of two figures collide"
    assert page.refs | {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_what_an_estimate_is_stands_beside_it(finished: dict[str, Any]) -> None:
    text = files(finished)["report.html"].decode()
    for row in finished["results"]["estimates"]:
        assert tables.text(row["unit"]) in text
        assert tables.text(row["method"]) in text
        assert row["counterpart"] is None or tables.text(row["counterpart"]["source"]) in text
    for words in ("not a climate sensitivity", "Durbin-Watson", "20 simulated series", "carried through", "± 16 %"):
        assert words in text


def test_the_page_says_whose_method_it_is_and_what_is_assumed(finished: dict[str, Any]) -> None:
    text = files(finished)["report.html"].decode()
    for words in ("Künsch", "stretched by our own rule", "independent between the two: an assumption", "1.28 ± 0.08",
                  "doi:10.1214/aos/1176347265", "calibration scale", "numpy ", "rise of the growth rate"):  # fmt: skip
        assert words in text
    for words in ("Kunsch", "none known to us"):
        assert words not in text
    kendall = text.partition("Is there a trend at all?")[2].partition("</table>")[0]
    assert all(period in kendall for period in ("1979-2020", "1951-2012", "1850-2021"))


def test_figures_are_numbered_in_the_order_of_the_page(finished: dict[str, Any]) -> None:
    text = files(finished)["report.html"].decode()
    assert re.findall(r"<h3>Figure (\d+)\. ", text) == [str(number) for number in range(1, 10)]


def test_the_drawn_cycle_has_the_size_that_is_said_of_it(finished: dict[str, Any]) -> None:
    results = finished["results"]
    said = next(row["value"] for row in results["estimates"] if row["id"] == "seasonal-amplitude")
    drawn = [row[1] for row in results["seasonal_curve"]]
    assert max(drawn) - min(drawn) == pytest.approx(said, rel=0.002)


def test_licence_and_attribution_are_on_the_page(finished: dict[str, Any]) -> None:
    text = files(finished)["report.html"].decode()
    for words in ("Open Government Licence v3.0", "© British Crown Copyright, Met Office", "Keeling", "Public domain"):
        assert words in text
    assert all(one["sha256"] in text for one in finished["sources"])


def test_text_from_the_state_is_escaped(finished: dict[str, Any]) -> None:
    row = {**finished["results"]["estimates"][0], "quantity": "<script>", "note": "a & b"}
    notes: list[str] = []
    assert "<script>" not in tables.estimates_table([row], notes)
    assert notes == ["a & b"]


def test_what_is_not_finite_never_reaches_a_report() -> None:
    with pytest.raises(ValueError, match="nan"):
        report.rounded({"a": [1.0, float("nan")]})


def test_a_report_is_replaced_whole_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.write(tmp_path, "report.json", b"old")

    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="No space"):
        report.write(tmp_path, "report.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.19538, "0.195"), (0.05889, "0.0589"), (1.1158, "1.12"), (-6.424, "−6.42"), (26.0, "26.0"), (0.0, "0.00")],
)
def test_numbers_are_shown_with_three_digits(value: float, shown: str) -> None:
    assert tables.number(value, tables.decimals_for(value)) == shown
