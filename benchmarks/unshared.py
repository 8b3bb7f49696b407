"""A CSV of the test images of a collection whose photograph and lesion are not in its training folder.

    python benchmarks/unshared.py $MELANOMA_DATA/melanoma10k --groups audit/groups.csv -o unshared.csv
    melanoma evaluate unshared.csv --bundle BUNDLE

For a network that was trained on the whole training folder before the audit.
"""

import argparse
from pathlib import Path

from melanoma.data import manifest, splits
from melanoma.data.tables import write_table


def main() -> None:
    """Write the CSV, with columns `path, label, split`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--groups", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    held = manifest.load([args.data])
    group = splits.find_groups(held, splits.load_groups(args.groups))
    test = held.table["given_split"] == "test"
    kept = test & ~group.isin(group[~test])
    table = held.table.loc[kept, ["path", "y_true"]].rename(columns={"y_true": "label"})
    write_table(table.assign(split="test"), args.output)
    print(f"{kept.sum():,} of {test.sum():,}, {held.table.loc[kept, 'y_true'].sum():,} melanoma")


if __name__ == "__main__":
    main()
