"""The verb `cac data deliver`: its arguments and what it prints. All else is imported when it runs."""

import argparse
from collections.abc import Callable
from pathlib import Path

# (name, what it runs, its help) → its parser
AddVerb = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_delivery_verb(add: AddVerb) -> None:
    """Add the verb with its arguments."""
    deliver = add("deliver", _deliver, "put a dataset into a landing place in S3, from which ingestion takes it")
    deliver.add_argument("dataset", type=Path, metavar="DATASET")
    deliver.add_argument("landing", metavar="LANDING", help="s3://BUCKET/FOLDER")
    deliver.add_argument("--name", metavar="NAME", help="of the delivery (default: the dataset folder's name)")


def _deliver(args: argparse.Namespace) -> int:
    from cac.data.deliveries import deliver
    from cac.s3 import Bucket

    bucket = Bucket(args.landing)
    name = args.name if args.name is not None else args.dataset.resolve().name
    sent = deliver(args.dataset, bucket, name)
    print(f"delivered {args.dataset} as {bucket.url(name)}; {sent} files were sent, the rest was there already")
    return 0
