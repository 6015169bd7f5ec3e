"""`amtl ingest` in a workspace: swap, deliver again, deliver more, refuse; data, params.yaml, parent.lock and data.dvc go together."""

from pathlib import Path

import pytest
import yaml
from official import CRITEO_TERABYTE, FRAPPE, MOVIELENS_100K, write
from typer.testing import CliRunner

from amtl import cli, params
from amtl.data.events import partitions
from amtl.errors import DataError, ParamsError
from amtl.sources.mapped.proposal import Wishes
from amtl.sources.mapped.tables import open_table
from amtl.validation.skipped import SkippedDays
from flows import data, ingest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")
REPOSITORY = Path(__file__).resolve().parents[3]
WISHES = Wishes(label="click", name="clicks")


@pytest.fixture
def root(dvc):
    """A workspace without data, as the repository's params.yaml describes it."""
    root = dvc()
    (root / "data" / "events" / "day").unlink()
    (root / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    return root


def delivery(folder, month=1, header="ts,click,user,price", user="u"):
    """A CSV of three days."""
    lines = [f"2026-{month:02d}-0{n % 3 + 1} 10:00:00,{n * 7 % 5 // 4},{user}{n % 17},{n % 13}.5" for n in range(100)]
    path = folder / f"{month}.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def bring(root, path, wishes=Wishes(), replace=False, replace_days=False):  # noqa: B008
    return ingest.files(root, [str(path)], wishes, replace, replace_days, ask=None)


def days(root):
    return [part.day for part in partitions(root / "data" / "events")]


def test_a_swap_brings_data_section_name_and_pins_along(root, tmp_path):
    (root / "skipped_days.yaml").write_text(f"days:\n- {{day: 2026-01-01, digest: {'0' * 64}, why: old, when: 2026-01-02}}\n")
    done = bring(root, delivery(tmp_path), WISHES, replace=True)
    assert done.lines()[-1] == "clicks: 3 days from 2026-01-01 to 2026-01-03 in data/events; data.dvc pins them; next: amtl retrain"
    assert days(root) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    settings = params.load(root / "params.yaml")
    assert (settings.events.name, settings.register_.name, settings.events.time) == ("clicks", "clicks", "ts")
    assert [field.name for field in settings.events.fields] == ["user", "price"]
    assert data.is_clean(root)
    assert data.pinned(root) in (root / "parent.lock").read_text()
    assert SkippedDays.read(root / "skipped_days.yaml").entries == ()


def test_a_later_delivery_needs_no_option_and_the_same_again_does_nothing(root, tmp_path):
    bring(root, delivery(tmp_path), WISHES, replace=True)
    described = (root / "params.yaml").read_text()
    later = delivery(tmp_path, month=2)
    assert bring(root, later).days.written == ("2026-02-01", "2026-02-02", "2026-02-03")
    assert len(days(root)) == 6
    pinned = data.pinned(root)
    assert bring(root, later).lines() == ["3 days from 2026-02-01 to 2026-02-03 here already, with the same content"]
    assert (data.pinned(root), (root / "params.yaml").read_text()) == (pinned, described)


def test_a_delivery_may_have_more_columns(root, tmp_path):
    bring(root, delivery(tmp_path), WISHES, replace=True)
    wider = delivery(tmp_path, 3)
    wider.write_text(
        "\n".join(line + (",more" if not number else ",1") for number, line in enumerate(wider.read_text().splitlines())) + "\n"
    )
    assert bring(root, wider).days.written


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"user": "v"}, {}, "2026-01-01, 2026-01-02, 2026-01-03 are here already with other content; .*--replace-days"),
        ({"header": "ts,click,who,price"}, {}, "lacks user, declared by params.yaml: events; it has ts, click, who, price"),
        ({}, {"wishes": Wishes(label="click", numbers=("user",), fields=("ts",), time="none")}, r"user \(number\); user \(string\)"),
        ({}, {"wishes": Wishes(label="click", name="other")}, "this workspace holds the data set 'clicks'.*not 'other'"),
        ({}, {"wishes": Wishes(time="ts")}, "a proposal, to take or to change: amtl ingest .*1.csv --label click --time ts --field user"),
        ({}, {"replace": True}, "a proposal, to take or to change"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(root, tmp_path, change, arguments, message):
    bring(root, delivery(tmp_path), WISHES, replace=True)
    before = partitions(root / "data" / "events"), (root / "params.yaml").read_text()
    with pytest.raises(DataError, match=message):
        bring(root, delivery(tmp_path, **change), **arguments)
    assert (partitions(root / "data" / "events"), (root / "params.yaml").read_text()) == before


def test_days_are_replaced_when_asked(root, tmp_path):
    bring(root, delivery(tmp_path), WISHES, replace=True)
    assert len(bring(root, delivery(tmp_path, user="v"), replace_days=True).days.written) == 3
    assert len(days(root)) == 3


def test_where_there_is_somebody_the_label_is_asked_for(root, tmp_path):
    def ask(table, wishes):
        return Wishes(label="click", name=table.paths[0].stem)

    done = ingest.files(root, [str(delivery(tmp_path))], Wishes(), True, False, ask)
    assert done.name == params.load(root / "params.yaml").register_.name == "1"


def test_a_published_data_set_once_here_is_left_alone(root, tmp_path):
    folder = write(tmp_path / "ml-100k", MOVIELENS_100K)
    with pytest.raises(DataError, match=r"'sample'.*'movielens-100k'.*--replace"):
        ingest.published(root, "movielens-100k", folder, False)
    assert ingest.published(root, "movielens-100k", folder, True).days.written
    assert ingest.published(root, "movielens-100k", folder, False).days.written == ()


def test_data_without_times_do_not_come_in_twice(root, tmp_path, monkeypatch):
    folder = write(tmp_path / "frappe", FRAPPE)
    monkeypatch.setattr(ingest, "_today", lambda: "2026-03-01")
    ingest.published(root, "frappe", folder, True)
    assert ingest.published(root, "frappe", folder, False).days.same == ("2026-03-01",)
    monkeypatch.setattr(ingest, "_today", lambda: "2026-03-02")
    with pytest.raises(DataError, match=r"frappe is here already \(date=2026-03-01\); .*--replace"):
        ingest.published(root, "frappe", folder, False)


def test_days_without_dates_lie_where_they_are_told_to(root, tmp_path):
    frappe, criteo = write(tmp_path / "frappe", FRAPPE), write(tmp_path / "criteo", CRITEO_TERABYTE)
    assert ingest.published(root, "frappe", frappe, True, day="2026-01-05").days.written == ("2026-01-05",)
    assert ingest.published(root, "criteo-terabyte", criteo, True).days.written == ("2000-01-01", "2000-01-02")
    assert ingest.published(root, "criteo-terabyte", criteo, True, day="2026-02-28").days.written == ("2026-02-28", "2026-03-01")
    with pytest.raises(ParamsError, match=r"--day 30\.02 is no day"):
        ingest.published(root, "frappe", frappe, True, day="30.02")


def test_dry_run_prints_the_section_and_needs_no_workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(cli.app, ["ingest", "--dry-run", str(delivery(tmp_path))])
    assert yaml.safe_load(shown.stdout)["events"]["label"] == "click"
    assert "note: ts is read as" in shown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["1.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["movielens-100k"], "give one path, the folder with u.data"),
        (["movielens", "."], "neither a file nor a published data set; .*frappe"),
    ],
)
def test_wrong_names_are_told(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=message):
        CliRunner().invoke(cli.app, ["ingest", *arguments], catch_exceptions=False)


def test_dry_run_shows_what_a_published_data_set_would_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(cli.app, ["ingest", "--dry-run", "frappe", str(write(tmp_path / "frappe", FRAPPE))])
    assert yaml.safe_load(shown.stdout)["events"]["name"] == "frappe"


@pytest.mark.parametrize(("answers", "label"), [("\n\n\n", "click"), ("price>=3\nnone\ny\n", "price>=3")])
def test_label_and_time_are_asked_for_and_agreed(tmp_path, answers, label):
    table = open_table([delivery(tmp_path)])
    with CliRunner().isolation(input=answers) as streams:
        asked = cli._ask_for_columns(table, Wishes(name="clicks"))
        shown = streams[0].getvalue().decode()
    assert asked == Wishes(label=label, time="ts" if label == "click" else "none", name="clicks")
    assert "columns: ts (time), click (integer), user (text), price (number)" in shown
    assert "name: clicks" in shown


def test_a_proposal_that_is_not_agreed_to_changes_nothing(tmp_path):
    with CliRunner().isolation(input="\n\nn\n"), pytest.raises(DataError, match="nothing was changed; say what the columns are"):
        cli._ask_for_columns(open_table([delivery(tmp_path)]), Wishes())
