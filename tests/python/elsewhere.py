"""A module of a package, with a function that a sweep can name."""


def build(params: object, data: object) -> None:
    """Build nothing: it is only named."""
