"""Publish a model as the next version, with requests that a server warms up on."""

from pathlib import Path

from components import versions, warmup


def publish(
    model_uri: str, examples_uri: str, base_path: Path, *, scratch: Path
) -> int:
    """Push a model with a few of the raw examples; return its version.

    Args:
      model_uri: of a trained model's artifact; the version remembers it.
      examples_uri: of the raw examples.
      base_path: the model's directory, one integer-named directory per version.
      scratch: directory for the requests before they are copied.
    """
    source = Path(model_uri) / "Format-Serving"
    requests = scratch / "warmup_requests"
    warmup.write(requests, source, warmup.read_examples(examples_uri))
    extra = {warmup.REQUESTS: requests.read_bytes()}
    return versions.push(source, base_path, origin=model_uri, extra=extra)
