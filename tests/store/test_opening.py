"""What is refused, and that what is refused stays as it was; and how a new study comes to be."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.contracts.store_contract import SPACE
from tests.store.processes import Elsewhere, next_line
from tests.store.studies import garbage_page, make_study, reopen, truncated, zeroed_header
from tuner.errors import StorageError, StudyMismatchError, StudyNotFoundError, TunerError, UsageError
from tuner.paths import StudyPaths
from tuner.records import Direction
from tuner.store import sqlite_file, tables
from tuner.store.engines import quiet_optuna
from tuner.store.locations import hide_password
from tuner.store.reader import read_study


def another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE music (title TEXT)")
    connection.close()


def newer_schema(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.0.0.a'")
    connection.close()


def older_schema(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    connection.close()


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (truncated, "truncated"),
    (garbage_page, "damaged"),
    (zeroed_header, "not a SQLite database"),
    (lambda path: path.write_text("trial,accuracy\n0,0.9\n"), "not a SQLite database"),
    (lambda path: path.write_bytes(b""), "is empty"),
    (another_program, "another program.*music"),
    (newer_schema, r"v9\.0\.0\.a.*upgrade"),
    (older_schema, "older Optuna schema.*optuna storage upgrade"),
]
NAMES = ["truncated", "garbage", "zeroed", "text", "empty", "another", "newer", "older"]


@pytest.mark.parametrize(("damage", "cause"), DAMAGES, ids=NAMES)
def test_unusable_file_is_refused_and_left_as_it_was(
    paths: StudyPaths, damage: Callable[[Path], object], cause: str
) -> None:
    make_study(paths)
    damage(paths.database)
    before = paths.database.read_bytes()
    with pytest.raises(StorageError, match=cause) as refusal:
        reopen(paths)
    assert str(paths.database) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    if damage is not garbage_page:  # a page that no query needs does not keep a report from being made
        with pytest.raises(StorageError, match=str(paths.database)):
            read_study(paths, study="digits")
    assert paths.database.read_bytes() == before
    assert list(paths.folder.iterdir()) == [paths.database]


def test_folder_in_place_of_the_database(paths: StudyPaths) -> None:
    paths.database.mkdir(parents=True)
    with pytest.raises(StorageError, match="is a folder"):
        reopen(paths)


def test_mistyped_folder_of_another_database_is_not_made(paths: StudyPaths, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        reopen(paths, url=str(tmp_path / "mistyped" / "studies.db"))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StorageError, match="cannot create"):
        reopen(StudyPaths(tmp_path / "results" / "digits"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write read-only files")
def test_readonly_file_is_refused_before_any_trial(paths: StudyPaths) -> None:
    make_study(paths)
    paths.database.chmod(0o444)
    with pytest.raises(StorageError, match="read-only"):
        reopen(paths)


@pytest.mark.slow
def test_missing_study_is_not_created_on_request(paths: StudyPaths) -> None:
    with pytest.raises(StudyNotFoundError):
        reopen(paths, create=False)
    assert not paths.folder.exists()
    make_study(paths)
    with pytest.raises(StudyNotFoundError, match='Did you mean "digits"'):
        reopen(paths, study="digit", create=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "difference"),
    [({"direction": Direction.MINIMIZE}, "to maximize"), ({"metric": "f1"}, "made for accuracy.*asks for f1")],
    ids=["direction", "metric"],
)
def test_study_of_another_objective_is_refused(paths: StudyPaths, changes: dict[str, Any], difference: str) -> None:
    make_study(paths)
    with pytest.raises(StudyMismatchError, match=difference):
        reopen(paths, **changes)
    reopen(paths).close()


@pytest.mark.slow
def test_fresh_study_keeps_the_old_one_under_another_name(paths: StudyPaths) -> None:
    make_study(paths)
    reopen(paths, study="digits/finalists").close()
    with reopen(paths, fresh=True, direction=Direction.MINIMIZE, metric="loss") as store:
        assert store.records() == ()
    with sqlite3.connect(f"file:{paths.database}?mode=ro", uri=True) as connection:
        names = [name for (name,) in connection.execute("SELECT study_name FROM studies ORDER BY study_id")]
    connection.close()
    assert names[2] == "digits"
    old = names[0]
    assert old.startswith("digits until ")
    assert names[1] == f"{old}/finalists"
    assert len(read_study(paths, study=old).records) == 3


def test_two_studies_share_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    for name in ("one", "two"):
        with reopen(StudyPaths(tmp_path / name), study=name, url=url) as store:
            store.start([(SPACE.default(), 1, name)])
    for name in ("one", "two"):
        assert [r.tier for r in read_study(StudyPaths(tmp_path / name), study=name, url=url).records] == [name]


@pytest.mark.slow
def test_study_of_plain_optuna_is_adopted(paths: StudyPaths) -> None:
    paths.folder.mkdir(parents=True)
    with quiet_optuna():
        study = optuna.create_study(study_name="digits", storage=f"sqlite:///{paths.database}", direction="maximize")
        study.optimize(lambda trial: trial.suggest_float("learning_rate", 0, 1), n_trials=2)
    with reopen(paths) as store:
        assert len(store.records()) == 2
        assert store.start([(SPACE.default(), 1, "tier 1")])[0].number == 2
    assert read_study(paths, study="digits").metric == "accuracy"


@pytest.mark.parametrize("name", ["we ird", "per%cent", "que?ry#x", "{SCHEMA_VERSION}", "ünï", "quo'te\"s"])
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    paths = StudyPaths(tmp_path / name)
    make_study(paths)
    assert len(read_study(paths, study="digits").records) == 3


def test_database_in_memory_is_refused(paths: StudyPaths) -> None:
    with pytest.raises(UsageError, match="in memory"):
        reopen(paths, url="sqlite://")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://tuner:s3cr:t@db/x", "postgresql://tuner:***@db/x"),
        ("mysql://tuner@db/x", "mysql://tuner@db/x"),
        (
            "no connection to postgresql://a:b@c:5432/d (timeout)",
            "no connection to postgresql://a:***@c:5432/d (timeout)",
        ),
        ("postgresql://db/x?user=a&password=b&sslmode=off", "postgresql://db/x?user=a&password=***&sslmode=off"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert hide_password(url) == shown


@pytest.mark.parametrize(
    "secret", ["hush", "hu sh", "hu:sh", "hu@sh", "hu/sh", "hu?sh", "hu#sh", "hu%20sh", "h\"'u\nsh", ""]
)
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:{}@127.0.0.1:1/db", "postgres+psycopg://:{}@h", "--store=mysql://u:{}@h/d?x=1",
        "mssql://h/d?user=u&password={}&x=1", "mysql://h/d?PASSWD={}", "POSTGRESQL://user:{}@[::1]:5432/db",
    ],
)  # fmt: skip
def test_whatever_the_password_is_made_of(url: str, secret: str) -> None:
    assert hide_password(url.format(secret)) == url.format("***")


@pytest.mark.parametrize(
    "text", ["postgresql://u:hush", "a word://u:hush@h", "it has password='hu sh' in it", "pwd=hush"]
)
def test_passwords_are_hidden_in_texts_and_without_a_host(text: str) -> None:
    assert "***" in hide_password(text)
    assert "hu" not in hide_password(text)


@pytest.mark.parametrize(
    "url", ["postgresql://h:5432/d", "postgresql://[::1]:5432/d", "sqlite:///a:b/c", "http://h:80"]
)
def test_what_is_no_password_is_shown(url: str) -> None:
    assert hide_password(url) == url


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("wibble://u:hush@x", UsageError, 'no kind of database is called "wibble"'),
        ("redis://x", UsageError, 'no kind of database is called "redis"'),
        ("://", UsageError, "no kind of database"),
        ("postgresql://u:hush@h:port/db", UsageError, "the port is a number"),
        ("postgresql://u:hush", UsageError, "cannot be understood"),
        ("postgresql+wibble://u:hush@h/db", UsageError, "cannot be understood"),
        ("postgresql://u:hush@hush/hush@127.0.0.1:1/db", UsageError, "as %40"),
        ("oracle://u:hush@h/d", StorageError, "run: pip install oracledb"),
        ("mysql://u:hush@h/d", StorageError, "run: pip install mysqlclient"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_what_helps(
    paths: StudyPaths, url: str, error: type[TunerError], words: str
) -> None:
    for use in (lambda: read_study(paths, study="study", url=url), lambda: reopen(paths, url=url)):
        with pytest.raises(error) as found:
            use()
        assert words in str(found.value)
        assert "hush" not in str(found.value)


@pytest.mark.slow
def test_optuna_has_the_tables_that_we_know() -> None:
    tables.check_tables(shown="study.db")
    storage = optuna.storages.RDBStorage("sqlite://")
    assert storage.get_head_version() == sqlite_file.SCHEMA_VERSION
    assert set(storage.get_all_versions()) == {sqlite_file.SCHEMA_VERSION, *sqlite_file.OLDER_SCHEMAS}
    storage.engine.dispose()


def test_an_optuna_with_other_tables_is_refused_with_the_remedy_and_makes_nothing(
    paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tables._COLUMNS["trials"]
    for other, named in (({"trial_id", "number"}, "datetime_complete, "), ({*known, "heat"}, "heat")):
        monkeypatch.setitem(tables._COLUMNS, "trials", other)  # type: ignore[index]
        with pytest.raises(StorageError, match=rf'table trials: {named}.*pip install "optuna>=5,<6"'):
            reopen(paths)
        assert not paths.folder.exists()


@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
def test_of_a_truncated_file_it_is_said_how_much_is_left_whatever_its_pages(tmp_path: Path, page_bytes: int) -> None:
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute("CREATE TABLE music (title TEXT)")
        connection.execute("CREATE TABLE books (title TEXT)")
    whole = path.stat().st_size
    assert whole == 3 * page_bytes
    truncated(path)
    error = sqlite3.DatabaseError("malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    assert f"truncated: {whole // 2:,} of {whole:,} bytes" in sqlite_file.explain(path, error)


OPENER = """
import sys, time
from pathlib import Path
from tuner.errors import StorageError
from tuner.paths import StudyPaths
from tuner.records import Direction
from tuner.spec.space import Space
from tuner.store.optuna_store import open_store
folder, go, url = sys.argv[1:]
while not Path(go).exists():
    time.sleep(0.01)
try:
    store = open_store(
        StudyPaths(Path(folder)),
        study="digits",
        direction=Direction.MAXIMIZE,
        metric="accuracy",
        space=Space(()),
        url=url or None,
    )
except StorageError as error:
    print("refused:", error)
else:
    store.start([({}, 1, "tier 1")])
    print("running", flush=True)
    sys.stdin.read()
    store.close()
"""


def race(elsewhere: Elsewhere, paths: StudyPaths, go: Path, url: str = "") -> list[str]:
    """What 8 processes say that open the same new study at the same moment."""
    openers = [elsewhere(OPENER, paths.folder, go, url) for _ in range(8)]
    go.touch()
    said = [next_line(process) for process in openers]
    for process in openers:
        process.communicate("")
        assert process.returncode == 0
    return said


@pytest.mark.deep
def test_one_of_eight_that_start_at_once_runs_the_study(
    elsewhere: Elsewhere, paths: StudyPaths, tmp_path: Path
) -> None:
    said = race(elsewhere, paths, tmp_path / "go")
    assert said.count("running\n") == 1
    assert sum("is run by process" in line for line in said) == 7
    assert len(read_study(paths, study="digits").records) == 1
    assert [path for path in paths.folder.iterdir() if not path.name.startswith("study.db")] == []
