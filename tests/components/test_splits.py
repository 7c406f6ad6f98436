import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from components import records, split_times, splits
from components.datasets import digits  # noqa: F401 makes TFDS know it
from components.sources import Batch
from components.split_rules import rounded
from recipes.data import Data
from recipes.errors import BadInputError

DATA = Path(__file__).parent.parent.parent.parent / "shared/data"
TRAIN, EVAL, TEST, SERVING = range(4)


def section(**values):
    return Data.model_validate({"csv": "x.csv", **values}).model_dump(mode="json")


def table(**columns):
    return pa.RecordBatch.from_pydict(columns)


def numbered(size, **columns):
    """Return a table of different records."""
    return table(row=np.arange(size), **columns)


def batch_of(rows, *, first=1):
    return Batch(names=[f"a.csv row {first + i}" for i in range(len(rows))], table=rows)


def as_examples(batch):
    """Return the same records as a source of ready tf.Examples gives them."""
    return Batch(names=batch.names, records=records.encode(batch.table))


def encoded(batch):
    return batch.records if batch.table is None else records.encode(batch.table)


def assigned(data, batches, *, parts=("",), part=""):
    """Return the split of every record, as workers would find it."""
    batches = batches if isinstance(batches, list) else [batches]
    scanned = None
    if splits.needs_scan(data):
        scans = [splits.scan(data, b, encoded(b)) for b in batches]
        scanned = splits.merge(pickle.loads(pickle.dumps(s)) for s in scans)
    assigner = pickle.loads(pickle.dumps(splits.assigner(data, {*parts}, scanned)))
    return np.concatenate([assigner.assign(part, b, encoded(b)) for b in batches])


def counts(chosen):
    return np.bincount(chosen, minlength=3).tolist()


def refusal(data, batches, **options):
    with pytest.raises(BadInputError) as error:
        assigned(data, batches, **options)
    return str(error.value)


def chunks(rows, size):
    return [
        batch_of(rows.slice(start, size), first=start + 1)
        for start in range(0, len(rows), size)
    ]


class TestShares:
    def test_of_one_record_are_those_computed_by_hand(self):
        record = bytes.fromhex("0a100a0e0a056c6162656c12051a030a0107")  # label: 7
        batch = Batch(names=["a"], records=[record])
        # sha256 of the seed as eight bytes and of the record, modulo 10, by
        # `sha256sum`: 6, 5, 1 and 8.
        shares = {"train": 5, "eval": 1, "test": 4}
        data = [section(seed=seed, splits=shares) for seed in range(4)]
        assert [assigned(d, batch)[0] for d in data] == [TEST, EVAL, TRAIN, TEST]

    def test_of_the_digits_are_those_of_the_published_figures(self, tmp_path):
        builder = tfds.builder("digits", data_dir=tmp_path, file_format="tfrecord")
        builder.download_and_prepare()
        shards = builder.info.splits["train"].filenames
        paths = [str(Path(builder.data_dir) / shard) for shard in sorted(shards)]
        scans = list(tf.data.TFRecordDataset(paths).as_numpy_iterator())
        batch = Batch(names=["scan"] * len(scans), records=scans)
        assert counts(assigned(section(seed=1), batch)) == [1444, 178, 175]

    def test_come_out_as_asked_for(self):
        # 10,000 records: four standard deviations are at most 160, 120 and 120.
        rows = batch_of(numbered(10_000))
        train, evaluated, test = counts(assigned(section(seed=5), rows))
        assert abs(train - 8000) < 160
        assert abs(evaluated - 1000) < 120
        assert abs(test - 1000) < 120

    def test_follow_their_names_in_any_order(self):
        rows = batch_of(numbered(2000))
        shares = {"test": 1, "train": 18, "eval": 1}
        assert counts(assigned(section(splits=shares), rows))[TRAIN] > 1700

    def test_of_another_seed_are_another_split(self):
        rows = batch_of(numbered(5000))
        one, other = (assigned(section(seed=seed), rows) for seed in (-1, 1))
        # Independent ones agree on 0.8 ** 2 + 2 * 0.1 ** 2 = 0.66 of the records.
        assert abs((one == other).mean() - 0.66) < 0.03

    def test_move_no_record_when_others_are_added(self):
        rows = numbered(1000)
        alone = assigned(section(), chunks(rows.slice(300, 200), 200))
        among = assigned(section(), chunks(rows, 77))
        assert (among[300:500] == alone).all()

    @pytest.mark.parametrize(
        "split_by", [None, {"key": ("b",)}, {"time": "a"}, {"stratify": "c"}]
    )
    def test_are_the_same_of_a_table_and_of_its_examples(self, split_by):
        data = section(split_by=split_by)
        days = [f"2024-01-{1 + row % 28:02}" for row in range(500)]
        names = [None, "", "x", "y", "z"] * 100
        rows = numbered(500, a=days, b=names, c=[1.5, None, 2, 2, -0.0] * 100)
        batch = batch_of(rows.slice(100, 300))
        assert (assigned(data, batch) == assigned(data, as_examples(batch))).all()

    def test_keep_equal_records_together_whatever_the_order_of_features(self):
        a, b = (
            tf.train.Feature(int64_list=tf.train.Int64List(value=[v])) for v in (1, 2)
        )
        written = []
        for order in (("a", "b"), ("b", "a")):
            entry = {"a": a, "b": b}
            pieces = [
                tf.train.Features(feature={n: entry[n]}).SerializeToString()
                for n in order
            ]
            body = b"".join(pieces)
            written.append(b"\x0a" + bytes([len(body)]) + body)
        assert written[0] != written[1]
        batch = Batch(names=["1", "2"], records=written)
        for seed in range(20):
            assert len({*assigned(section(seed=seed), batch)}) == 1


class TestKey:
    USERS = np.random.default_rng(0).integers(0, 300, 6000)

    def test_keeps_groups_together(self):
        data = section(split_by={"key": ("user",)})
        chosen = assigned(data, chunks(numbered(6000, user=self.USERS), 999))
        assert all(len({*chosen[user == self.USERS]}) == 1 for user in range(300))
        by_user = {user: chosen[user == self.USERS][0] for user in range(300)}
        # 300 users: four standard deviations around 240, 30 and 30.
        assert abs(counts(list(by_user.values()))[TRAIN] - 240) < 28
        assert set(by_user.values()) == {TRAIN, EVAL, TEST}

    @pytest.mark.parametrize(
        "values",
        [
            USERS.astype(str),
            USERS.astype(np.float64),
            USERS.astype(np.uint16),
            pa.array(USERS.astype(str)).cast(pa.large_string()).dictionary_encode(),
            pa.array(USERS.astype(str)).cast(pa.binary()),
            [[user] for user in USERS],
        ],
        ids=["text", "float", "uint16", "dictionary", "bytes", "list"],
    )
    @pytest.mark.parametrize("source", [lambda b: b, as_examples], ids=["table", "tf"])
    def test_is_the_same_in_every_type(self, values, source):
        data = section(split_by={"key": ("user",)})
        as_numbers = assigned(data, batch_of(table(user=self.USERS)))
        assert (
            assigned(data, source(batch_of(table(user=values)))) == as_numbers
        ).all()

    def test_of_several_columns_is_not_their_mere_joining(self):
        rows = table(a=["1", "12", "1:2", ""] * 50, b=["23", "3", "3", "3"] * 50)
        chosen = [
            assigned(section(seed=seed, split_by={"key": ("a", "b")}), batch_of(rows))
            for seed in range(60)
        ]
        first, second, third = np.array(chosen)[:, :3].T
        assert (first != second).any()
        assert (second != third).any()

    def test_that_is_missing_leaves_a_record_alone(self):
        data = section(split_by={"key": ("user", "day")})
        users = pa.array([None, "", "u", "u"] * 500)
        days = pa.array([1, 1, None, 1] * 500)
        chosen = assigned(data, batch_of(numbered(2000, user=users, day=days)))
        by_record = assigned(section(), batch_of(numbered(2000, user=users, day=days)))
        has_all = np.arange(2000) % 4 == 3
        assert (chosen[~has_all] == by_record[~has_all]).all()
        assert len({*chosen[has_all]}) == 1

    def test_that_no_column_has_is_told(self):
        data = section(split_by={"key": ("usr",)})
        rows = batch_of(numbered(3, user=[1, 2, 3]))
        words = "no column 'usr' in a.csv row 1 and what follows. Columns: row, user"
        assert words in refusal(data, rows)
        assert "no column 'usr'" in refusal(data, as_examples(rows))

    def test_of_several_values_is_told(self):
        data = section(split_by={"key": ("user",)})
        rows = batch_of(numbered(2, user=[[1], [1, 2]]))
        assert "expected one value per record. a.csv row 2 has 2" in refusal(data, rows)


class TestParts:
    ROWS = batch_of(numbered(4000))
    PARTS = ("training", "extra", "held_out")

    def by_name(self, part, **names):
        names = {"train": "training[:90%]", "eval": "training[90%:]", **names}
        return assigned(section(splits=names), self.ROWS, parts=self.PARTS, part=part)

    def test_by_name(self):
        names = {"train": "training + extra", "eval": "held_out[:50%]"}
        names["test"] = "held_out[50%:]"
        assert {*self.by_name("training", **names)} == {TRAIN}
        assert {*self.by_name("extra", **names)} == {TRAIN}
        evaluated, test = counts(self.by_name("held_out", **names))[1:]
        assert (evaluated + test, abs(evaluated - test) < 4 * 32 * 2) == (4000, True)

    def test_slices_of_a_part_cover_it_once(self):
        train, evaluated, test = counts(self.by_name("training", test="held_out"))
        assert (train + evaluated, test) == (4000, 0)
        assert abs(evaluated - 400) < 4 * 19
        halves = {"train": "training[:33.3%]", "eval": "training[33.3%:66.6%]"}
        assert -1 in self.by_name("training", test="held_out", **halves)

    def test_a_part_that_no_split_names_is_left_out(self):
        assert {*self.by_name("extra", test="held_out")} == {-1}

    def test_with_shares_all_but_what_was_served_is_pooled(self):
        data, parts = section(), {"a", "b", "serving"}
        one, other = (assigned(data, self.ROWS, parts=parts, part=p) for p in "ab")
        assert (one == other).all()
        served = assigned(data, self.ROWS, parts=parts, part="serving")
        assert {*served} == {SERVING}
        assert splits.assigner(data, parts).names == (
            "train",
            "eval",
            "test",
            "serving",
        )

    def test_what_the_reader_decided_stands(self):
        batch = Batch(names=self.ROWS.names, table=self.ROWS.table, split="test")
        assert {*assigned(section(), batch)} == {TEST}
        assert {*assigned(section(split_by={"time": "row"}), batch)} == {TEST}
        names = {"train": "train[:80%]", "eval": "train[80%:]", "test": "test"}
        data = Data.model_validate({"tfds": "digits", "splits": names})
        assert {*assigned(data.model_dump(mode="json"), batch)} == {TEST}

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (
                {"test": "heldout"},
                "no part 'heldout'. Expected some of extra, held_out",
            ),
            ({"test": "heldout"}, "Did you mean 'held_out'?"),
            ({"test": "training[85%:]"}, "'eval' and 'test' share records"),
            ({"test": "training"}, "'train' and 'test' share records"),
            ({"test": "extra+extra"}, "'test' and 'test' share records"),
            (
                {"test": "extra[:500]"},
                "a slice such as part[:80%]. Received: 'extra[:5",
            ),
            ({"test": "extra[50%:50%]"}, "holds nothing"),
            ({"test": "extra[:101%]"}, "holds nothing"),
            ({"test": "serving"}, "never learned from"),
        ],
    )
    def test_that_cannot_be_are_told(self, names, words):
        names = {"train": "training[:80%]", "eval": "training[80%:90%]", **names}
        data = section(splits=names)
        assert words in refusal(data, self.ROWS, parts=(*self.PARTS, "serving"))

    def test_of_a_source_without_parts_are_told(self):
        data = section(splits={"train": "a", "eval": "b", "test": "c"})
        assert "Give `splits` as shares" in refusal(data, self.ROWS)


class TestTime:
    DATA = section(split_by={"time": "when"})

    def test_trains_on_the_oldest_and_tests_on_the_newest(self):
        hours = np.random.default_rng(0).permutation(5000)
        when = [
            f"2024-{1 + h // 720:02}-{1 + h // 24 % 30:02}T{h % 24:02}:30"
            for h in hours
        ]
        when[0] = "2024-02-29T00:00:00+00:00"
        hours[0] = 28 * 24 + 720
        when = [w.replace("02-30", "02-29") for w in when]
        chosen = assigned(self.DATA, chunks(numbered(5000, when=when), 640))
        order = sorted(range(5000), key=lambda row: when[row][:16])
        assert all(a <= b for a, b in pairwise(chosen[order]))
        assert np.abs(np.subtract(counts(chosen), [4000, 500, 500])).max() < 30

    def test_that_is_equal_stays_on_one_side(self):
        when = np.repeat([1, 2, 3, 4], [700, 150, 100, 50])
        chosen = assigned(self.DATA, chunks(numbered(1000, when=when), 300))
        # Train's 800 lie between 700 and 850: the cut is at the closer one.
        assert counts(chosen) == [850, 100, 50]
        assert chosen[when == 2].tolist() == [TRAIN] * 150

    def test_leaves_a_record_for_every_split(self):
        chosen = assigned(self.DATA, batch_of(numbered(100, when=[1] * 98 + [2, 3])))
        assert counts(chosen) == [98, 1, 1]
        rows = batch_of(numbered(100, when=[1] * 98 + [2, 2]))
        assert "has 2 different times. Expected at least 3" in refusal(self.DATA, rows)

    @pytest.mark.parametrize(
        "when",
        [
            ["2024-01-09", "2024-01-10T08:00:00Z", "2024-01-11 09:30"],
            ["2024/1/9", "2024/01/10 08:00", "2024/01/11 09:30:00"],
            ["09.01.2024", "10.01.2024 08:00", "11.01.2024 09:30"],
            ["01/09/2024 12:00:00 AM", "01/10/2024 08:00:00 AM", "01/13/2024"],
            ["9/1/2024", "10/1/2024 08:00", "31/1/2024 09:30"],
            ["9", "10.5", "1e3"],
            [9, 10, 1000],
            [-1.5, 0.0, 2.5],
            pa.array([9, 10, 11], pa.date32()),
            pa.array([9, 10, 11], pa.timestamp("ms", "Europe/Berlin")),
            pa.array(["2024-01-09", "2024-01-10", "2024-01-11"]).dictionary_encode(),
        ],
    )
    def test_in_every_form_has_the_same_order(self, when):
        batches = [batch_of(numbered(3, when=when).slice(i, 1)) for i in (2, 0, 1)]
        assert assigned(self.DATA, batches).tolist() == [TEST, TRAIN, EVAL]
        written = [as_examples(b) for b in batches]
        if not pa.types.is_timestamp(batches[0].table.schema.field("when").type):
            assert assigned(self.DATA, written).tolist() == [TEST, TRAIN, EVAL]

    def test_is_in_seconds_since_1970(self):
        texts = pa.array(
            ["1970-01-02", "1970-01-01T01:00:00+01:00", "1969-12-31 23:59:59"]
        )
        np.testing.assert_array_equal(
            split_times.times(texts, "ISO 8601"), [86400, 0, -1]
        )
        texts = pa.array(["01/02/1970 12:00:01 AM", "02/30/1970"])
        np.testing.assert_array_equal(
            split_times.times(texts, "month/day/year"), [86401, np.nan]
        )

        texts = pa.array(["inf", "-1.5"])
        np.testing.assert_array_equal(
            split_times.times(texts, "number"), [np.nan, -1.5]
        )

    def test_of_several_workers_is_counted_once(self):
        found = [
            split_times.found(pa.array(when), ["row"] * len(when))
            for when in ([5, 5, 1], [5, 2], [])
        ]
        merged = split_times.merge(found)["number"]
        assert (merged.values.tolist(), merged.counts.tolist()) == (
            [1, 2, 5],
            [1, 1, 3],
        )

    def test_that_is_none_is_told_with_its_row(self):
        days = [f"2024-01-{day:02}" for day in range(1, 29)]
        days[11], days[20] = "soon", None
        words = refusal(self.DATA, chunks(numbered(28, when=days), 5))
        assert (
            "'when' holds 2 values that are no ISO 8601: a.csv row 12 ('soon'), "
            in words
        )
        assert "a.csv row 21 (no value)" in words

    def test_in_two_forms_is_told(self):
        rows = [numbered(200, when=["2024-01-05"] * 200), numbered(3, when=["5"] * 3)]
        assert "holds 3 values" in refusal(self.DATA, [batch_of(r) for r in rows])

    def test_that_may_be_month_or_day_first_is_told(self):
        rows = batch_of(numbered(3, when=["01/02/2024", "03/04/2024", "05/06/2024"]))
        assert "could be month/day or day/month" in refusal(self.DATA, rows)


class TestStratify:
    DATA = section(seed=3, split_by={"stratify": "label"})

    def test_gives_every_value_the_same_shares(self):
        label = np.repeat(["a", "b", "c"], [1000, 130, 45])
        chosen = assigned(self.DATA, chunks(numbered(1175, label=label), 100))
        assert counts(chosen[label == "a"]) == [800, 100, 100]
        assert counts(chosen[label == "b"]) == [104, 13, 13]
        assert counts(chosen[label == "c"]) == [36, 5, 4]

    @pytest.mark.parametrize(
        ("total", "expected"),
        [
            (0, [0, 0, 0]),
            (1, [1, 0, 0]),
            (2, [1, 0, 1]),
            (3, [1, 1, 1]),
            (10, [8, 1, 1]),
            (19, [15, 2, 2]),
            (25, [20, 3, 2]),
        ],
    )
    def test_rounds_in_favour_of_rare_values(self, total, expected):
        assert rounded([8, 1, 1], total) == expected

    def test_moves_few_records_when_others_are_added(self):
        rows = numbered(3000, label=np.arange(3000) % 4)
        before = assigned(self.DATA, batch_of(rows.slice(0, 2900)))
        after = assigned(self.DATA, batch_of(rows))[:2900]
        assert (before != after).mean() < 0.02

    def test_does_not_follow_the_order_of_records(self):
        rows = numbered(3000, label=[1] * 3000)
        tests = np.nonzero(assigned(self.DATA, batch_of(rows)) == TEST)[0]
        assert abs(tests.mean() - 1500) < 4 * 900 / np.sqrt(300)

    def test_takes_a_missing_value_for_one_of_its_own(self):
        label = pa.array([None, "", "x", "y"] * 100)
        chosen = assigned(self.DATA, batch_of(numbered(400, label=label)))
        missing = np.arange(400) % 4 < 2
        assert counts(chosen[missing]) == [160, 20, 20]

    def test_of_values_that_hardly_repeat_is_refused(self):
        rows = batch_of(numbered(50, label=np.arange(50) / 7))
        words = "50 different values, in too few records: eval and test would be empty"
        assert words in refusal(self.DATA, rows)
        rows = batch_of(numbered(10_001, label=np.arange(10_001)))
        assert "at most 10,000 different values" in refusal(self.DATA, rows)

    def test_does_not_count_what_was_served(self):
        rows = batch_of(numbered(5, label=["a"] * 5))
        assert not splits.scan(self.DATA, rows, encoded(rows), part="serving").strata


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not here")
class TestRealData:
    def read(self, path, **options):
        whole = pa.csv.read_csv(DATA / path, **options).combine_chunks()
        return whole.to_batches()[0]

    def test_etth1_by_time(self):
        rows = self.read("etth1/ETTh1.csv")
        data = section(
            splits={"train": 12, "eval": 4, "test": 4}, split_by={"time": "date"}
        )
        chosen = assigned(data, batch_of(rows))
        assert counts(chosen) == [10452, 3484, 3484]  # of 17,420: 60, 20 and 20 %
        assert (np.diff(chosen) >= 0).all()

    def test_wine_by_quality(self):
        rows = self.read(
            "wine-quality/winequality-white.csv",
            parse_options=pa.csv.ParseOptions(delimiter=";"),
        )
        chosen = assigned(section(split_by={"stratify": "quality"}), batch_of(rows))
        quality = rows["quality"].to_numpy()
        # 2,198 wines of quality 6; of quality 9 only five. Equal wines stay together.
        got = np.array(counts(chosen[quality == 6]))
        assert np.abs(got - np.array([1758, 220, 220])).max() <= 6
        assert counts(chosen[quality == 9]) == [3, 1, 1]

    def test_taxi_by_company(self):
        rows = self.read("chicago-taxi/data.csv")
        chosen = assigned(section(split_by={"key": ("company",)}), batch_of(rows))
        company = np.array(rows["company"].to_pylist())
        named = company != ""
        seen = {c: {*chosen[company == c]} for c in {*company[named]}}
        assert all(len(found) == 1 for found in seen.values())
        assert {*chosen[~named]} == {TRAIN, EVAL, TEST}
