"""Names of transformed columns."""

LABEL = "strata_label"  # no column made from a feature can be called so


def transformed_name(feature: str) -> str:
    """Return the name of the column made from a raw feature."""
    return f"{feature}_xf"
