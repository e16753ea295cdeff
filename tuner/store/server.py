"""Reading a study on a database server."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from tuner.store.engines import find_study, server_engine, study_names
from tuner.store.locations import DatabaseLocation
from tuner.store.study_data import FINALISTS, ON_PARTS, StudyData, study_data, study_not_found
from tuner.store.tables import FACTS, SYSTEM, read_directions, read_rows, read_study_attributes
from tuner.store.writer import as_storage_error


def read_server_study(location: DatabaseLocation, *, study: str) -> StudyData:
    """Read a study; see `tuner.store.reader.read_study`."""
    engine = server_engine(location.url)
    try:
        study_id = find_study(engine, study, shown=str(location))
        if study_id is None:
            raise study_not_found(study, study_names(engine), shown=str(location))
        finalists, on_parts = (
            find_study(engine, f"{study}/{beside}", shown=str(location)) for beside in (FINALISTS, ON_PARTS)
        )
        with engine.connect() as connection:
            return study_data(
                name=study,
                directions=read_directions(connection, study_id),
                user_attributes=read_study_attributes(connection, FACTS, study_id),
                system_attributes=read_study_attributes(connection, SYSTEM, study_id),
                rows=read_rows(connection, study_id),
                finalists=read_rows(connection, finalists) if finalists is not None else None,
                on_parts=read_rows(connection, on_parts) if on_parts is not None else None,
                shown=str(location),
            )
    except SQLAlchemyError as error:
        raise as_storage_error(error, shown=str(location)) from error
    finally:
        engine.dispose()
