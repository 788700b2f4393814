"""The page in a browser: it picks what `picks.py` picks, fetches nothing, complains of nothing."""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Front, Limit, Result, Trial, result_of
from tunefront.search.front.intervals import unconfirmed_trials
from tunefront.search.front.picks import front_of, nearest_misses, within
from tunefront.search.report.page import report_html
from tunefront.search.study.confirmation import Confirmation

from .conftest import RECORD, Search, failed
from .test_page import CLEANED, NASTY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, NARROW = 1280, 360
FRONT = """([limits, prefer]) => {
  const found = frontOf(report, limits, prefer);
  const number = (trial) => trial.number;
  return {
    kept: found.kept.map(number),
    front: found.front.map(number),
    picks: found.picks.map((p) => [p.name, p.trial.number, p.reason, p.ties.map(number)]),
    misses: nearestMisses(report.trials, limits).map(number),
  };
}"""


@pytest.fixture
def opened(browser: "Browser", tmp_path: Path) -> Iterator[Callable[..., "Page"]]:
    """Open a page from its file; afterwards nothing was said on the console, nothing asked for."""
    said: list[str] = []
    asked: list[str] = []
    with closing(browser.new_context()) as context:

        def opened(html: str, width: int = WIDE, scheme: Any = "light") -> "Page":
            path = tmp_path / "report.html"
            path.write_text(html, encoding="utf-8")
            page: Page = context.new_page()
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(path.as_uri())
            return page

        yield opened
    assert said == []
    assert [url for url in asked if not url.startswith(("file://", "data:,"))] == []
    assert {url for url in asked if url.startswith("file://")} <= {
        (tmp_path / "report.html").as_uri()
    }


@pytest.fixture
def page(opened: Callable[..., "Page"], result: Result) -> "Page":
    return opened(report_html(result, RECORD))


def pick_rows(front: Front) -> list[list[Any]]:
    return [
        [pick.name, pick.trial.number, pick.reason, [trial.number for trial in pick.ties]]
        for pick in front.picks
    ]


def plain(limits: Sequence[Limit]) -> list[dict[str, Any]]:
    return [{"metric": limit.metric, "test": limit.test, "bound": limit.bound} for limit in limits]


def random_limits(trials: Sequence[Trial], random: np.random.Generator) -> tuple[Limit, ...]:
    """Up to three bounds somewhere between the values that there are, or exactly at one."""
    measured = [trial for trial in trials if trial.measured]
    metrics = ["throughput", "latency_ms", "peak_memory_mb", "perplexity", "quality_drop"]
    limits = []
    for metric in random.permutation(metrics)[: random.integers(0, 4)]:
        values = [trial.value(str(metric)) for trial in measured]
        bound = float(random.choice(values))
        if random.random() < 0.5:
            bound = float(f"{bound:.3g}")
        wanted = metric == "throughput"
        limits.append(Limit(metric=str(metric), test=">=" if wanted else "<=", bound=bound))
    return tuple(limits)


def front_shown(
    experiment: Experiment,
    trials: Sequence[Trial],
    limits: Sequence[Limit] | None = None,
    prefer: str | None = None,
) -> Front:
    """The front of trials without a confirmation, some of which have warnings."""
    return front_of(experiment, trials, limits, prefer, unconfirmed_trials(trials, Confirmation()))


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.2])
def test_whatever_the_limits_the_browser_picks_what_python_picks(
    opened: Callable[..., "Page"], experiment: Experiment, search: Search, spread: float
) -> None:
    trials = search(80, seed=1, spread=spread)
    page = opened(report_html(result_of(experiment, trials, Confirmation()), RECORD))
    random = np.random.default_rng(7)
    nothing = 0
    for _ in range(60):
        limits = random_limits(trials, random)
        prefer = random.choice(["", "throughput", "latency_ms", "quality_drop"])
        front = front_shown(experiment, trials, limits, str(prefer) or None)
        found = page.evaluate(FRONT, [plain(limits), str(prefer)])
        assert found["front"] == [trial.number for trial in front.trials]
        assert found["kept"] == [trial.number for trial in within(trials, limits)]
        assert found["picks"] == pick_rows(front), (limits, prefer)
        if limits:
            assert found["misses"] == [trial.number for trial in nearest_misses(trials, limits)]
        nothing += not front.trials
    assert 0 < nothing < 60


def test_values_that_are_nearly_the_same_are_ties_in_the_browser_too(
    opened: Callable[..., "Page"], experiment: Experiment, search: Search
) -> None:
    """Narrow intervals that lean to one side, about 1 % apart."""
    trials = search(30, spread=0.0)
    random = np.random.default_rng(5)
    for place, trial in enumerate(trials):
        if trial.measured:
            figures = {n: near(m, random) for n, m in trials[1].measurements.items()}
            trials[place] = replace(trial, measurements=figures, status="ok")
    front = front_shown(experiment, trials, ())
    ties = sum(map(len, front.ties.values()))
    assert 0 < ties < len(front.ties) * (len(front.ties) - 1)
    page = opened(report_html(result_of(experiment, trials, Confirmation()), RECORD))
    found = page.evaluate(
        """() => {
          const { kept, ties } = frontOf(report, [], "");
          return kept.map((trial) => [trial.number, ties(trial).map((other) => other.number)]);
        }"""
    )
    assert found == [[n, [t.number for t in same]] for n, same in front.ties.items()]


def near(figure: Measurement, random: np.random.Generator) -> Measurement:
    value = figure.value * (1 + random.uniform(-0.008, 0.008))
    high = value + abs(value) * random.uniform(0.0, 0.006)
    return replace(figure, value=value, low=value, high=high)


def test_without_a_baseline_and_with_a_preference_the_picks_are_the_same_too(
    opened: Callable[..., "Page"], experiment: Experiment, search: Search
) -> None:
    trials = search(40)
    trials[0] = failed(trials[0])
    preferring = replace(experiment, prefer="peak_memory_mb")
    for chosen in (experiment, preferring):
        page = opened(report_html(result_of(chosen, trials, Confirmation()), RECORD))
        found = page.evaluate(FRONT, [plain(chosen.limits), ""])
        assert found["picks"] == pick_rows(front_shown(chosen, trials))


@pytest.mark.parametrize(
    "gone", [{"throughput", "latency_ms"}, {"peak_memory_mb"}, {"throughput", "peak_memory_mb"}]
)
def test_values_that_no_trial_has_are_missing_in_the_browser_too(
    opened: Callable[..., "Page"],
    load: Callable[..., Experiment],
    experiment: Experiment,
    search: Search,
    gone: set[str],
) -> None:
    searched = load("objectives={perplexity: minimize, quality_drop: minimize}")
    bare = replace(experiment, objectives=searched.objectives)
    trials = [
        replace(t, measurements={n: m for n, m in t.measurements.items() if n not in gone})
        for t in search(60, spread=0.2)
    ]
    page = opened(report_html(result_of(bare, trials, Confirmation()), RECORD))
    out_of_reach = Limit(metric="peak_memory_mb", test="<=", bound=400.0)
    for limits in (bare.limits, (), (*bare.limits, out_of_reach)):
        front = front_shown(bare, trials, limits)
        found = page.evaluate(FRONT, [plain(limits), ""])
        assert found["picks"] == pick_rows(front)
        if limits:
            assert found["misses"] == [t.number for t in nearest_misses(trials, limits)]
    names = {pick.name for pick in front_shown(bare, trials).picks}
    assert ("fastest" in names) == ("throughput" not in gone)
    assert ("smallest" in names) == ("peak_memory_mb" not in gone)


def shown_picks(page: "Page") -> list[tuple[str, int]]:
    rows = page.locator("#picks tbody tr[data-pick]").all()
    return [
        (str(row.get_attribute("data-pick")), int(str(row.get_attribute("data-trial"))))
        for row in rows
    ]


def typed_limits(page: "Page", experiment: Experiment) -> tuple[tuple[Limit, ...], str | None]:
    """What the page's `tunefront pick` command means, as the command line takes it."""
    words = shlex.split(page.locator("#again code").inner_text())
    assert words[:3] == ["tunefront", "pick", str(experiment.path)]
    pairs = list(zip(words[3::2], words[4::2], strict=True))
    texts = [text for option, text in pairs if option == "--limit"]
    chosen = [Limit.parse_expression(text, experiment.metrics) for text in texts]
    named = {limit.metric for limit in chosen}
    kept = [limit for limit in experiment.limits if limit.metric not in named]
    return (*kept, *chosen), next((text for option, text in pairs if option == "--prefer"), None)


def picks_of(front: Front) -> list[tuple[str, int]]:
    return [(pick.name, pick.trial.number) for pick in front.picks]


@pytest.mark.parametrize(
    "bounds",
    [
        {"throughput>=": "60"},
        {"quality_drop<=": "2.5"},
        {"quality_drop<=": "-0.2", "peak_memory_mb<=": "420"},
        {"quality_drop<=": "", "perplexity<=": "10.05"},
    ],
)
def test_bounds_that_are_typed_filter_and_pick(
    page: "Page", result: Result, bounds: dict[str, str]
) -> None:
    for name, bound in bounds.items():
        field = page.locator(f"[data-limit='{name}'] input[type=number]")
        field.fill(bound)
        field.press("Enter")
    limits, prefer = typed_limits(page, result.experiment)
    front = front_of(result.experiment, result.trials, limits, prefer, result.unconfirmed)
    assert shown_picks(page) == picks_of(front)
    assert front.recommended is not None
    assert front.recommended.name() in page.locator("h1").inner_text()
    assert page.locator("h1").inner_text().startswith("Recommended with the limits set below")
    visible = page.locator("#trials tbody tr:visible")
    kept = len(within(result.trials, limits))
    assert visible.count() == kept
    assert f"{kept} of 55 measured trials" in page.locator("#now").inner_text()
    for reason in (pick.reason for pick in front.picks):
        assert reason in page.locator("#picks").inner_text()


def test_sliders_pick_and_can_be_taken_back(page: "Page", result: Result) -> None:
    before = shown_picks(page)
    assert before == picks_of(result.front)
    slider = page.locator("[data-limit='throughput>='] input[type=range]")
    slider.focus()
    seen = set()
    for key in ["ArrowRight"] * 12 + ["End"]:
        page.keyboard.press(key)
        limits, prefer = typed_limits(page, result.experiment)
        front = front_of(result.experiment, result.trials, limits, prefer, result.unconfirmed)
        assert shown_picks(page) == picks_of(front)
        seen.add(page.locator("#again code").inner_text())
    assert len(seen) == 13
    page.keyboard.press("Home")
    assert page.locator("#again code").count() == 0
    page.keyboard.press("End")
    page.locator("#limits button[type=reset]").click()
    assert shown_picks(page) == before
    assert page.locator("h1").inner_text() == f"Recommended {result.headline()}".replace(
        " ", "\n", 1
    )


def test_a_preferred_metric_recommends(page: "Page", result: Result) -> None:
    page.locator("#controls select").select_option("peak_memory_mb")
    limits, prefer = typed_limits(page, result.experiment)
    assert prefer == "peak_memory_mb"
    assert shown_picks(page) == picks_of(
        front_of(result.experiment, result.trials, limits, prefer, result.unconfirmed)
    )


def test_where_nothing_keeps_the_limits_the_nearest_misses_are_shown(
    page: "Page", result: Result
) -> None:
    field = page.locator("[data-limit='throughput>='] input[type=number]")
    field.fill("1e9")
    field.press("Enter")
    limits, _ = typed_limits(page, result.experiment)
    assert "no trial meets the limits" in page.locator("h1").inner_text()
    rows = page.locator("#picks tr[data-miss]").all()
    assert [int(str(row.get_attribute("data-miss"))) for row in rows] == [
        trial.number for trial in nearest_misses(result.trials, limits)
    ]
    assert "throughput >= 1,000,000,000" in page.locator("#picks").inner_text()
    assert page.locator("#trials tbody tr:visible").count() == 0


def test_every_pair_of_objectives_is_drawn_with_roles_bars_ties_and_limits(
    page: "Page", result: Result
) -> None:
    pictures = page.locator("#pairs svg.pair")
    assert pictures.count() == 3
    on_front = {trial.number for trial in result.front.trials}
    others = on_front - {0, result.front.picks[0].trial.number}
    assert any(result.front.ties[number] for number in on_front)
    for place in range(3):
        picture = pictures.nth(place)
        assert picture.locator("path.mark.recommended").count() == 1
        assert picture.locator("rect.mark.baseline").count() == 1
        assert picture.locator("circle.mark.front").count() == len(others)
        assert picture.locator("path.interval.front").count() == len(others)
        assert picture.locator("g.ties path").count() == 1
    # The loss of quality is limited: shaded on both axes that show the quality itself.
    assert [pictures.nth(i).locator("rect.beyond-limit").count() for i in range(3)] == [0, 1, 1]


def test_pointing_shows_a_trial_and_a_click_keeps_it(page: "Page", result: Result) -> None:
    star = page.locator("#pairs svg.pair").first.locator("path.mark.recommended")
    star.scroll_into_view_if_needed()
    frame = star.bounding_box()
    assert frame is not None
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    card = page.locator("#card")
    recommended = result.front.recommended
    assert recommended is not None
    text = card.inner_text()
    assert recommended.name() in text
    assert result.view(recommended).trust_text in text
    assert f"tunefront export {result.experiment.path} {recommended.number}" in text
    for name, value in recommended.configuration.items():
        if name != "device":
            assert f"{name} {value}" in text
    assert page.locator(f"#trials tr.marked[data-trial='{recommended.number}']").count() == 1
    page.mouse.move(2, 2)
    assert not card.is_visible()
    page.mouse.click(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    page.mouse.move(2, 2)
    assert card.is_visible()
    card.get_by_role("button", name="copy").click()
    assert card.get_by_role("button", name="copied").count() == 1
    page.keyboard.press("Escape")
    assert not card.is_visible()


def test_the_keyboard_reaches_every_trial(page: "Page") -> None:
    picture = page.locator("#pairs svg.pair").first
    picture.focus()
    page.keyboard.press("Home")
    names = set()
    for _ in range(picture.locator(".mark").count()):
        names.add(page.locator("#card h3").inner_text())
        page.keyboard.press("ArrowRight")
    assert len(names) == picture.locator(".mark").count()
    page.keyboard.press("Enter")
    assert page.locator("#card.kept").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#card").is_visible()
    assert page.evaluate("document.activeElement.classList.contains('pair')")


def test_the_table_sorts_by_any_column(page: "Page", result: Result) -> None:
    def column(place: int) -> list[str]:
        return page.locator(f"#trials tbody tr:visible td:nth-child({place})").all_inner_texts()

    heads = page.locator("#trials thead th")
    titles = [re.split(r"\s", text)[0] for text in heads.all_inner_texts()]
    assert titles[:7] == [
        "trial", "role", "trust", "throughput", "peak_memory_mb", "perplexity", "quality_drop",
    ]  # fmt: skip
    assert titles[7:] == [
        "runtime", "precision", "quantization_bits", "batch_size", "threads", "seconds",
    ]  # fmt: skip
    assert heads.nth(3).get_attribute("aria-sort") == "descending"
    speeds = [float(text) for text in column(4)]
    assert speeds == sorted(speeds, reverse=True)
    heads.nth(4).get_by_role("button").click()
    memory = [float(text) for text in column(5)]
    assert memory == sorted(memory)
    heads.nth(4).get_by_role("button").click()
    assert [float(text) for text in column(5)] == sorted(memory, reverse=True)
    page.get_by_role("radio", name="all").check()
    assert page.locator("#trials tbody tr:visible").count() == 60
    heads.nth(4).get_by_role("button").click()
    assert column(5)[-5:] == ["-"] * 5
    page.get_by_role("radio", name="failed").check()
    assert column(2) == ["failed: oom"] * 4


@pytest.mark.parametrize("width", [NARROW, 880, WIDE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_narrow_and_wide_in_light_and_dark(
    opened: Callable[..., "Page"], result: Result, width: int, scheme: str
) -> None:
    page = opened(report_html(result, RECORD), width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    light = [int(re.findall(r"\d+", colour)[0]) for colour in (ink, paper)]
    assert (light[0] < light[1]) is (scheme == "light")
    page.set_viewport_size({"width": NARROW, "height": 800})
    assert page.locator("#pairs svg.pair").first.evaluate("e => e.clientWidth") <= NARROW


def test_names_that_look_like_tags_are_shown_as_they_are(
    opened: Callable[..., "Page"], experiment: Experiment, search: Search
) -> None:
    trials = search(20)
    trials[3] = failed(trials[3], NASTY)
    named = replace(experiment, name=NASTY, path=Path("x</script>.yaml"))
    page = opened(report_html(result_of(named, trials, Confirmation()), RECORD))
    assert page.evaluate("typeof bad") == "undefined"
    shown = page.locator("header p").first.text_content() or ""
    assert shown.startswith(f"Tunefront: {NASTY}, ")
    assert CLEANED in (page.locator("#failures").text_content() or "")


@pytest.mark.parametrize("what", ["nothing run", "all failed", "one objective", "beyond limits"])
def test_searches_that_came_to_little_have_a_page(
    opened: Callable[..., "Page"],
    load: Callable[..., Experiment],
    experiment: Experiment,
    search: Search,
    what: str,
) -> None:
    trials = [] if what == "nothing run" else search(15)
    if what == "all failed":
        trials = [failed(trial) for trial in trials]
    if what == "one objective":
        experiment = load("objectives={throughput: maximize}")
    if what == "beyond limits":
        experiment = replace(experiment, limits=(Limit(metric="throughput", test=">=", bound=1e6),))
    result = result_of(experiment, trials, Confirmation())
    page = opened(report_html(result, RECORD))
    assert result.headline() in page.locator("h1").inner_text()
    pictures = {"one objective": 1, "beyond limits": 3}.get(what, 0)
    assert page.locator("#pairs svg.pair").count() == pictures
    if what == "beyond limits":
        assert page.locator("#picks tr[data-miss]").count() == 3


def test_a_thousand_trials_are_moved_at_once(
    opened: Callable[..., "Page"], experiment: Experiment, search: Search
) -> None:
    trials = search(1000)
    page = opened(report_html(result_of(experiment, trials, Confirmation()), RECORD))
    field = page.locator("[data-limit='throughput>='] input[type=number]")
    field.fill("90")
    field.press("Enter")
    limits = (*experiment.limits, Limit(metric="throughput", test=">=", bound=90.0))
    assert shown_picks(page) == picks_of(front_shown(experiment, trials, limits))
