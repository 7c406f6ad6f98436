"""Examples artifacts on disk, with the names of their rows, as ingest leaves them."""

import gzip

from tests.components.records import write


def examples(folder, **splits):
    """Write shards: split -> serialized examples; return the artifact's place.

    Record i of a split is called `<split>.csv row <i + 1>`.
    """
    for split, records in splits.items():
        shards, origins = folder / f"Split-{split}", folder / f"origins/Split-{split}"
        shards.mkdir(parents=True)
        origins.mkdir(parents=True)
        half = len(records) // 2
        for number, part in enumerate((range(half), range(half, len(records)))):
            stem = f"examples-{number:05d}-of-00002"
            write(shards / f"{stem}.gz", [records[i] for i in part])
            with gzip.open(origins / f"{stem}.txt.gz", "wt") as names:
                names.writelines(f"{split}.csv row {i + 1}\n" for i in part)
    return str(folder)
